// The page: takes clips in, keeps its settings, shows what is served. Each clip is a Card's business.

import { Card } from "./card.js";
import { spoken } from "./captions.js";
import { kept } from "./kept_jobs.js";
import { fillPage, onLanguage, switchLanguage, t } from "./i18n.js";
import { record } from "./recorder.js";

const LOOK_MS = 10000, KEY = "modelward.settings", MAX_CARDS = 200;
const at = (id) => document.getElementById(id);
const cards = [];

const settings = () => ({ language: at("language").value, itn: at("itn").checked, signs: at("signs").checked });

function restoreSettings() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if ([...at("language").options].some((option) => option.value === kept.language)) at("language").value = kept.language;
    for (const id of ["itn", "signs"]) if (typeof kept[id] === "boolean") at(id).checked = kept[id];
  } catch { /* nothing kept, or not ours */ }
}

function keepSettings() {
  try { localStorage.setItem(KEY, JSON.stringify(settings())); } catch { /* private mode */ }
  for (const card of cards) card.show();
}

// taking clips in

function take(clip) {
  const card = new Card(clip, settings, heard);
  cards.unshift(card);
  at("results").prepend(card.element);
  if (cards.length > MAX_CARDS) cards.at(-1).remove();
  card.start();
  tidy();
}

function takeFiles(files) {
  complain("");
  for (const file of files) take({ blob: file, name: file.name });
}

function heard(card, what) {
  if (what === "removed") cards.splice(cards.indexOf(card), 1);
  else at("announce").textContent = t(what, { name: card.clip.name });
  if (what === "finished") looked = { state: "ok", key: "serving", version: card.result.version };
  showLooked();
  tidy();
}

function tidy() {
  at("empty").hidden = cards.length > 0;
  at("clear").hidden = cards.length < 2;
}

function complain(text) {
  at("intake-problem").textContent = text;
  at("intake-problem").hidden = !text;
}

function takesDrops() {
  let depth = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = (on) => at("intake").classList.toggle("over", on);
  addEventListener("dragenter", (event) => { if (files(event)) { depth += 1; over(true); } });
  addEventListener("dragleave", (event) => { if (files(event)) { depth = Math.max(0, depth - 1); over(depth > 0); } });
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => { if (files(event)) { event.preventDefault(); depth = 0; over(false); takeFiles(event.dataTransfer.files); } });
  addEventListener("paste", (event) => takeFiles(event.clipboardData?.files ?? []));
}

// the microphone

let recording = null, ticking = 0;

async function beginRecording() {
  complain("");
  if (!navigator.mediaDevices?.getUserMedia) { complain(t("mic_insecure")); return; }
  at("record").disabled = true;
  try {
    recording = await record(at("level"), new URLSearchParams(location.search).has("wav"));
    showRecording(true);
    at("stop").focus();
  } catch (problem) {
    const known = { NotAllowedError: "mic_denied", NotFoundError: "mic_missing" };
    complain(t(known[problem.name] ?? "mic_failed", { reason: problem.message }));
  } finally { at("record").disabled = false; }
}

async function endRecording(keep) {
  const ended = recording;
  if (!ended) return;
  recording = null;
  if (keep) {
    const name = t("recorded", { time: new Date().toLocaleTimeString() });
    try {
      const { blob, extension } = await ended.stop();
      if (blob.size) take({ blob, name: `${name}.${extension}` });
      else complain(t("mic_silent"));
    } catch (problem) { complain(t("mic_failed", { reason: problem.message })); }
  } else ended.discard();
  showRecording(false);
  at("record").focus();
}

function showRecording(on) {
  document.querySelector(".rest").hidden = on;
  at("recording").hidden = !on;
  clearInterval(ticking);
  if (on) ticking = setInterval(() => { at("clock").textContent = spoken(recording?.seconds() ?? 0); }, 250);
  at("clock").textContent = "0:00";
}

// what is served

let looked = { state: "unknown", key: "connecting", version: "" };

async function look() {
  try {
    const health = await (await fetch("health", { cache: "no-store" })).json();
    looked = health.version ? { state: "ok", key: "serving", version: health.version } : { state: "bad", key: "no_model", version: "" };
  } catch { looked = { state: "bad", key: "offline", version: "" }; }
  showLooked();
}

function showLooked() {
  const text = t(looked.key, { version: looked.version });
  at("serving").dataset.state = looked.state;
  // written only when it differs, or it would be read out again and again
  if (at("serving-text").textContent !== text) at("serving-text").textContent = text;
}

restoreSettings();
at("options").addEventListener("change", keepSettings);
at("options").addEventListener("submit", (event) => event.preventDefault());
at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", () => { takeFiles([...at("files").files]); at("files").value = ""; });
at("record").addEventListener("click", beginRecording);
at("stop").addEventListener("click", () => endRecording(true));
at("discard").addEventListener("click", () => endRecording(false));
at("clear").addEventListener("click", () => [...cards].forEach((card) => card.remove()));
at("other-language").addEventListener("click", switchLanguage);
addEventListener("keydown", (event) => { if (event.key === "Escape" && recording) endRecording(false); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
takesDrops();
onLanguage(() => {
  fillPage();
  at("other-language").textContent = t("other");
  at("other-language").lang = t("other_lang");
  showLooked();
  cards.forEach((card) => card.show());
});
for (const clip of kept()) take(clip);
look();
setInterval(() => document.hidden || look(), LOOK_MS);
