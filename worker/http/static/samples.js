// Runs beside the page in the audio thread: hands on the first channel's samples in blocks, and null at the end.

const BLOCK = 16384;

class Samples extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Float32Array(BLOCK);
    this.count = 0;
    this.ended = false;
    this.port.onmessage = () => { this.hand(); this.port.postMessage(null); this.ended = true; };
  }

  hand() {
    if (this.count) this.port.postMessage(this.held.slice(0, this.count));
    this.count = 0;
  }

  process([[channel]]) {
    if (channel) {
      if (this.count + channel.length > BLOCK) this.hand();
      this.held.set(channel, this.count);
      this.count += channel.length;
    }
    return !this.ended;
  }
}

registerProcessor("samples", Samples);
