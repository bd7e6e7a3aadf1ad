// One clip on the page: how far it is, then what it says and what can be done with it.

import { captionsOf, spoken, srt, vtt } from "./captions.js";
import { has, t } from "./i18n.js";
import { signedText, tagWords } from "./tags.js";
import { takeUp, transcribe } from "./upload.js";

const COPIED_MS = 1600;

export class Card {
  /** `settings()` gives {language, itn, signs}; `changed(card, what)` hears "finished", "failed" and "removed". A clip whose
   * job the service has already may be without its sound. */
  constructor(clip, settings, changed) {
    Object.assign(this, { clip, settings, changed, result: null, failure: null, progress: { stage: "waiting" } });
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.url = clip.blob ? URL.createObjectURL(clip.blob) : "";
    const on = (name, act) => this.find(name).addEventListener("click", act);
    on(".remove", () => this.remove());
    on(".again", () => this.start());
    on(".copy", () => this.copy());
    for (const form of ["txt", "srt", "vtt"]) on(`.${form}`, () => this.save(form));
    if (this.url) this.find("audio").src = this.url;
    this.find("audio").hidden = !this.url;
  }

  find(selector) { return this.element.querySelector(selector); }

  start() {
    Object.assign(this, { result: null, failure: null });
    const { language, itn } = this.settings(), told = (progress) => { this.progress = progress; this.show(); };
    const job = this.clip.job ? takeUp(this.clip, told) : transcribe(this.clip, { language, itn }, told);
    this.cancel = job.cancel;
    job.outcome.then((result) => this.end({ result }), (failure) => this.end({ failure }));
    this.show();
  }

  end(outcome) {
    // A job of an earlier page that is gone, or belongs to another token: nobody here waits for it.
    if (outcome.failure?.code === "no_such_job" && !this.clip.blob) { this.remove(); return; }
    Object.assign(this, outcome);
    this.show();
    this.changed(this, outcome.result ? "finished" : "failed");
  }

  remove() {
    this.cancel?.();
    if (this.url) URL.revokeObjectURL(this.url);
    this.element.remove();
    this.changed(this, "removed");
  }

  /** Writes everything anew: state, words of the page's language, tags as the page is set. */
  show() {
    this.find(".name").textContent = this.clip.name;
    this.find(".remove").setAttribute("aria-label", t("remove", { name: this.clip.name }));
    this.find(".under-way").hidden = Boolean(this.result || this.failure);
    this.find(".done").hidden = !this.result;
    this.find(".failed").hidden = !this.failure;
    if (this.result) this.showResult();
    else if (this.failure) this.showFailure();
    else this.showProgress();
  }

  showProgress() {
    const { stage, share, place, text: soFar } = this.progress, bar = this.find("progress");
    const text = t(stage, { percent: Math.floor((share ?? 0) * 100), place });
    if (stage === "sending" || stage === "working") bar.value = share;
    else if (stage === "waiting" || stage === "queued") bar.value = 0;
    else bar.removeAttribute("value");
    bar.setAttribute("aria-label", this.clip.name);
    this.find(".stage").textContent = text;
    this.find(".so-far").textContent = soFar ?? "";
    this.find(".so-far").hidden = !soFar;
  }

  showFailure() {
    const { code, message, status } = this.failure;
    // the service's own words, which it gives in the language of the page, where the page has none
    this.find(".failed .problem").textContent = has(code) && code !== "wrong" ? t(code) : message || t("wrong", { status });
    this.find(".again").textContent = t("again");
    this.find(".again").hidden = !this.clip.blob && !this.clip.job;
  }

  showResult() {
    const { answer, version, took } = this.result, text = this.find(".text");
    const shown = this.text();
    text.textContent = shown || t("nothing_said");
    text.classList.toggle("none", !shown);
    if (/^(zh|en|ja|ko|yue)$/.test(answer.language)) text.lang = answer.language;
    const tags = this.settings().signs ? tagWords({ language: answer.language }) : tagWords(answer);
    this.find(".tags").replaceChildren(...tags.map((tag) => make("li", tag)));
    this.find(".tags").hidden = !tags.length;
    this.showTimes(answer.segments ?? []);
    this.find(".copy").textContent = t("copy");
    for (const form of ["txt", "srt", "vtt"]) this.find(`.${form}`).setAttribute("aria-label", t("save", { name: this.clip.name, form: form.toUpperCase() }));
    this.find(".actions").hidden = !shown;
    this.find("audio").setAttribute("aria-label", this.clip.name);
    const by = t("by", { version: version || answer.version, seconds: answer.duration.toFixed(1), took: took.toFixed(2) });
    this.find(".by").textContent = answer.truncated ? `${by} · ${t("cut_off")}` : by;
  }

  showTimes(segments) {
    const captions = captionsOf(segments);
    this.find(".times").hidden = !captions.length;
    this.find("summary").textContent = t("times");
    this.find(".times ol").replaceChildren(...captions.map((caption) => {
      const row = make("li"), button = make(this.url ? "button" : "span", spoken(caption.start));
      row.append(button, make("span", caption.text));
      if (!this.url) return row;
      button.type = "button";
      button.setAttribute("aria-label", t("play_from", { time: spoken(caption.start) }));
      button.addEventListener("click", () => this.play(caption.start));
      return row;
    }));
  }

  play(seconds) {
    const audio = this.find("audio");
    audio.currentTime = seconds;
    audio.play().catch(() => { /* what the browser can't play it shows itself */ });
  }

  text() { return this.settings().signs ? signedText(this.result.answer) : this.result.answer.result; }

  async copy() {
    const button = this.find(".copy");
    await toClipboard(this.text());
    button.textContent = t("copied");
    setTimeout(() => { button.textContent = t("copy"); }, COPIED_MS);
  }

  save(form) {
    const captions = captionsOf(this.result.answer.segments ?? []);
    const content = { txt: () => `${this.text()}\n`, srt: () => srt(captions), vtt: () => vtt(captions) }[form]();
    const link = make("a"), url = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
    link.href = url;
    link.download = `${this.clip.name.replace(/\.[^.]*$/, "")}.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
}

function make(name, text = "") {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

/** Pages not served over https have no clipboard of their own; there the old way still works. */
async function toClipboard(text) {
  if (navigator.clipboard) {
    try { await navigator.clipboard.writeText(text); return; } catch { /* not allowed: the old way */ }
  }
  const area = make("textarea", text);
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
