// Every word the page shows, in English. A word in {braces} is filled in where it is used. The Chinese words are made
// from these and the catalogue: make docs.

import { zh } from "./words.zh.js";

const en = {
  title: "Turn speech into text", page: "Transcribe", drop: "Drop audio here",
  formats: "Recordings of phones, browsers and messengers, and nearly every other kind. It stays on this service and is not kept.",
  choose: "Choose files", record: "Record", stop: "Stop and transcribe", discard: "Discard", elapsed: "Recording time",
  language: "Language", itn: "Punctuation and figures", signs: "Tags as signs",
  results: "Transcripts", empty: "Nothing yet. What you drop or record appears here.", clear: "Clear all",
  connecting: "Connecting…", serving: "Served by {version}", no_model: "No model is loaded yet", offline: "The service does not answer",
  waiting: "Waiting", sending: "Sending {percent} %", recognizing: "Recognising", retrying: "The service is busy; trying again", converting: "The browser converts it",
  queued: "In line at place {place}", working: "{percent} % recognised", looking: "Asking how far it is",
  remove: "Remove {name}", copy: "Copy", copied: "Copied", save: "Save {name} as {form}", again: "Try again", times: "Times", play_from: "Play from {time}",
  nothing_said: "No speech was heard.", cut_off: "a part of the recording is missing", by: "Answered by {version} · {seconds} s of audio in {took} s",
  finished: "{name}: finished", failed: "{name}: failed", recorded: "Recording {time}",
  other: "中文", other_lang: "zh",
  lang_auto: "Detect", lang_zh: "Mandarin", lang_en: "English", lang_yue: "Cantonese", lang_ja: "Japanese", lang_ko: "Korean",
  HAPPY: "happy", SAD: "sad", ANGRY: "angry", NEUTRAL: "neutral", FEARFUL: "fearful", DISGUSTED: "disgusted", SURPRISED: "surprised",
  Speech: "speech", BGM: "music", Applause: "applause", Laughter: "laughter", Cry: "crying", Sneeze: "sneezing", Cough: "coughing", Breath: "breathing", Sing: "singing", Speech_Noise: "noise",
  mic_insecure: "The browser gives the microphone only to pages opened over https or from this machine.",
  mic_denied: "The microphone was not allowed. Allow it in the browser's settings for this page.",
  mic_missing: "No microphone was found.", mic_failed: "The microphone can't be used: {reason}", mic_silent: "Nothing was recorded.",
  no_such_job: "The service no longer has this recording.", token_missing: "The service asks for a token. Open the page again.", bad_token: "The token is no longer valid. Open the page again.", cancelled: "Cancelled.", worker_died: "The service failed on this recording several times and gave it up.",
  network: "The connection broke off.", wrong: "The service answered in a way this page does not know ({status}).",
};

export const WORDS = { en, zh };
