// TXT, SRT and VTT out of an answer's segments. The rules are those of worker/sensevoice/subtitles.py; a test compares the two.

const CAPTION_SECONDS = 7, CAPTION_WIDTH = 84, CLAUSE_WIDTH = 42, PAUSE_SECONDS = 1, WORD_SECONDS = 1;
const SENTENCE_END = new Set(".?!。？！…"), CLAUSE_END = new Set(",;:，、；：");
const MARKS = new Set([...SENTENCE_END, ...CLAUSE_END, ..."\"'”’）)》」』】"]);
const UNSPACED = [[0x2e80, 0x30ff], [0x3100, 0x312f], [0x31a0, 0x31ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xf900, 0xfaff], [0xff00, 0xff9f], [0x20000, 0x3ffff]];

const isUnspaced = (sign) => UNSPACED.some(([first, last]) => sign.codePointAt(0) >= first && sign.codePointAt(0) <= last);
const last = (text) => [...text].at(-1);
const width = (text) => [...text].reduce((sum, sign) => sum + (isUnspaced(sign) ? 2 : 1), 0);
const round = (seconds) => Math.round(seconds * 1000) / 1000;

const isMark = (token) => [...token].every((sign) => MARKS.has(sign));
const goesOn = (before, token) => isMark(token) || !(isUnspaced(last(before)) || isUnspaced([...token][0]));

export function wordsOf(segment) {
  const begun = [];
  let space = false;
  segment.tokens.forEach((token, place) => {
    const bare = token.trim();
    space ||= /^\s/.test(token);
    if (!bare) return;
    const time = segment.times[place], word = begun.at(-1);
    if (word && !space && goesOn(word.text, bare)) {
      word.text += bare;
      if (!isMark(bare)) word.sounded = time;
    } else begun.push({ text: bare, start: time, sounded: time, spaced: space && begun.length > 0 });
    space = /\s$/.test(token);
  });
  if (!begun.length) return segment.text ? [{ text: segment.text, start: segment.start, end: segment.end, spaced: false }] : [];
  return begun.map(({ sounded, ...word }, place) => {
    const next = begun[place + 1]?.start ?? segment.end;
    return { ...word, end: round(Math.max(word.start, Math.min(next, sounded + WORD_SECONDS))) };
  });
}

const textOf = (held) => held.map((word, place) => (word.spaced && place ? " " : "") + word.text).join("");

function endsBefore(held, word) {
  const text = textOf(held);
  if (word.start - held.at(-1).end > PAUSE_SECONDS || word.end - held[0].start > CAPTION_SECONDS) return true;
  if (width(text) + width(word.text) + (word.spaced ? 1 : 0) > CAPTION_WIDTH) return true;
  return SENTENCE_END.has(last(text)) || (CLAUSE_END.has(last(text)) && width(text) >= CLAUSE_WIDTH);
}

export function captionsOf(segments) {
  const found = [];
  const close = (held) => held.length && found.push({ text: textOf(held), start: held[0].start, end: held.at(-1).end });
  for (const segment of segments) {
    let held = [];
    for (const word of wordsOf(segment)) {
      if (held.length && endsBefore(held, word)) { close(held); held = []; }
      held.push(word);
    }
    close(held);
  }
  return found;
}

function clock(seconds, point) {
  const all = Math.round(seconds * 1000), pad = (number, digits = 2) => String(number).padStart(digits, "0");
  return `${pad(Math.floor(all / 3600000))}:${pad(Math.floor(all / 60000) % 60)}:${pad(Math.floor(all / 1000) % 60)}${point}${pad(all % 1000, 3)}`;
}

export function srt(captions) {
  return captions.map((c, place) => `${place + 1}\n${clock(c.start, ",")} --> ${clock(c.end, ",")}\n${c.text}\n`).join("\n");
}

export function vtt(captions) {
  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return "WEBVTT\n" + captions.map((c) => `\n${clock(c.start, ".")} --> ${clock(c.end, ".")}\n${escape(c.text)}\n`).join("");
}

/** Minutes and seconds for people: 1:05, 1:02:03. */
export function spoken(seconds) {
  const all = Math.floor(seconds), hours = Math.floor(all / 3600), rest = `${Math.floor(all / 60) % 60}`;
  const tail = String(all % 60).padStart(2, "0");
  return hours ? `${hours}:${rest.padStart(2, "0")}:${tail}` : `${rest}:${tail}`;
}
