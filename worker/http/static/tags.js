// What a clip is tagged with, as words or as signs. Signs stand where FunASR's rich_transcription_postprocess puts them:
// a piece's events before its text, its emotion behind, none twice in a row.

import { has, t } from "./i18n.js";

const EMOTIONS = { HAPPY: "😊", SAD: "😔", ANGRY: "😡", FEARFUL: "😰", DISGUSTED: "🤢", SURPRISED: "😮" };
const EVENTS = { BGM: "🎼", Applause: "👏", Laughter: "😀", Cry: "😭", Sneeze: "🤧", Cough: "🤧" };
const SILENT = new Set(["", "nospeech", "EMO_UNKNOWN", "OTHER", "Event_UNK", "GBG"]);

const word = (tag) => (has(tag) ? t(tag) : tag.toLowerCase().replaceAll("_", " "));

/** The tags of an answer in words: language, emotion, events. */
export function tagWords(answer) {
  const language = SILENT.has(answer.language) ? "" : (has(`lang_${answer.language}`) ? t(`lang_${answer.language}`) : answer.language);
  const rest = [answer.emotion, ...(answer.events || [])].filter((tag) => tag && !SILENT.has(tag)).map(word);
  return [language, ...rest].filter(Boolean);
}

/** The text of an answer with its signs. */
export function signedText(answer) {
  const pieces = answer.segments?.length ? answer.segments : [{ text: answer.result, emotion: answer.emotion, event: answer.events?.[0] ?? "" }];
  let text = "", event = "", emotion = "";
  for (const piece of pieces) {
    const before = EVENTS[piece.event] ?? "", after = EMOTIONS[piece.emotion] ?? "";
    if (after && after === emotion) text = text.slice(0, -after.length);
    const seam = text && !before && !emotion && /[\w.,!?;:]$/.test(text) && /^\w/.test(piece.text) ? " " : "";
    text += seam + (before && before !== event ? before : "") + piece.text + after;
    [event, emotion] = [before, after];
  }
  return text;
}
