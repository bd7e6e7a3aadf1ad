// Has the browser decode what the service does not read, and makes WAV of it, which every service reads.

import { wav } from "./recorder.js";

const RATE = 16000, CANCELLED = 0.1;

/** The clip as WAV, or null where the browser does not read it either. */
export async function converted(clip) {
  try {
    const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await clip.blob.arrayBuffer());
    return { blob: wav([mixed(sound)], RATE), name: `${clip.name}.wav` };
  } catch { return null; }
}

/** One channel of all. Two that are each other's opposite would cancel: then the second is turned. */
function mixed(sound) {
  const channels = Array.from({ length: sound.numberOfChannels }, (_, number) => sound.getChannelData(number));
  if (channels.length === 1) return channels[0];
  const sum = (signs) => channels[0].map((_, at) => channels.reduce((all, channel, number) => all + (signs[number] ?? 1) * channel[at], 0) / channels.length);
  const power = (samples) => samples.reduce((all, sample) => all + sample * sample, 0);
  const mean = sum([]), apart = channels.reduce((all, channel) => all + power(channel), 0) / channels.length ** 2;
  return channels.length === 2 && power(mean) < CANCELLED * apart ? sum([1, -1]) : mean;
}
