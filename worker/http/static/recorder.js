// Records the microphone: Opus in WebM or OGG where the browser can, else WAV collected sample by sample, because
// not every service reads the MP4 of the others. Shows the level on a canvas. The microphone is let go as soon as it is not needed.

const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/webm", "audio/ogg"];
const SLICE_MS = 1000;

/** Begins to record. Rejects with the browser's error. `plain` forces WAV. */
export async function record(canvas, plain = false) {
  // what makes a call pleasant takes from speech what a recogniser needs; only the gain helps it
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true } });
  try {
    const context = new AudioContext();
    await context.resume();
    const source = context.createMediaStreamSource(stream);
    const type = plain || !globalThis.MediaRecorder ? "" : TYPES.find((name) => MediaRecorder.isTypeSupported(name));
    const taken = type ? compressed(stream, type) : await samples(context, source);
    const stopDrawing = draw(context, source, canvas);
    const release = () => { stopDrawing(); stream.getTracks().forEach((track) => track.stop()); context.close(); };
    return {
      seconds: () => context.currentTime,
      stop: async () => { try { return await taken(); } finally { release(); } },
      discard: () => { taken().catch(() => {}); release(); },
    };
  } catch (problem) {
    stream.getTracks().forEach((track) => track.stop());
    throw problem;
  }
}

function compressed(stream, type) {
  const recorder = new MediaRecorder(stream, { mimeType: type }), parts = [];
  recorder.ondataavailable = (event) => event.data.size && parts.push(event.data);
  recorder.start(SLICE_MS);
  const kind = type.split(";")[0];
  return () => new Promise((resolve, reject) => {
    recorder.onstop = () => resolve({ blob: new Blob(parts, { type: kind }), extension: kind.split("/")[1] });
    recorder.onerror = (event) => reject(event.error ?? new Error("recorder"));
    recorder.stop();
  });
}

async function samples(context, source) {
  await context.audioWorklet.addModule("static/samples.js");
  const node = new AudioWorkletNode(context, "samples", { numberOfOutputs: 0 }), parts = [];
  node.port.onmessage = (event) => parts.push(event.data);
  source.connect(node);
  return async () => {
    source.disconnect(node);
    const ended = new Promise((done) => { node.port.onmessage = (event) => (event.data ? parts.push(event.data) : done()); });
    node.port.postMessage("end");
    await ended;
    return { blob: wav(parts, context.sampleRate), extension: "wav" };
  };
}

/** A mono PCM16 WAV file of Float32Arrays. */
export function wav(parts, rate) {
  const count = parts.reduce((sum, part) => sum + part.length, 0), view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (place, word) => [...word].forEach((sign, i) => view.setUint8(place + i, sign.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * count, true);
  let place = 44;
  for (const part of parts) for (const sample of part) {
    view.setInt16(place, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
    place += 2;
  }
  return new Blob([view], { type: "audio/wav" });
}

function draw(context, source, canvas) {
  const analyser = context.createAnalyser(), wave = new Float32Array(1024), bars = [], pen = canvas.getContext("2d");
  const step = 8;
  analyser.fftSize = wave.length;
  source.connect(analyser);
  let frame = 0, stopped = false;
  const paint = () => {
    if (stopped) return;
    frame = requestAnimationFrame(paint);
    analyser.getFloatTimeDomainData(wave);
    bars.push(Math.min(1, 4 * Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length)));
    if (bars.length > canvas.width / step) bars.shift();
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = getComputedStyle(canvas).color;
    bars.forEach((level, i) => {
      const height = Math.max(3, level * canvas.height);
      pen.fillRect(canvas.width - (bars.length - i) * step, (canvas.height - height) / 2, step - 3, height);
    });
  };
  paint();
  return () => { stopped = true; cancelAnimationFrame(frame); source.disconnect(); };
}
