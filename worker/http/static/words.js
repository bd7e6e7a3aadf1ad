// Every word the page shows, in both languages. A word in {braces} is filled in where it is used.

const en = {
  title: "Turn speech into text", page: "Transcribe", drop: "Drop audio here",
  formats: "WAV, FLAC, OGG, MP3 or WebM. It stays on this service and is not kept.",
  choose: "Choose files", record: "Record", stop: "Stop and transcribe", discard: "Discard", elapsed: "Recording time",
  language: "Language", itn: "Punctuation and figures", signs: "Tags as signs",
  results: "Transcripts", empty: "Nothing yet. What you drop or record appears here.", clear: "Clear all",
  connecting: "Connecting…", serving: "Served by {version}", no_model: "No model is loaded yet", offline: "The service does not answer",
  waiting: "Waiting", sending: "Sending {percent} %", recognizing: "Recognising", retrying: "The service is busy; trying again",
  remove: "Remove {name}", copy: "Copy", copied: "Copied", save: "Save {name} as {form}", again: "Try again", times: "Times", play_from: "Play from {time}",
  nothing_said: "No speech was heard.", by: "Answered by {version} · {seconds} s of audio in {took} s",
  finished: "{name}: finished", failed: "{name}: failed", recorded: "Recording {time}",
  other: "中文", other_lang: "zh",
  lang_auto: "Detect", lang_zh: "Mandarin", lang_en: "English", lang_yue: "Cantonese", lang_ja: "Japanese", lang_ko: "Korean",
  HAPPY: "happy", SAD: "sad", ANGRY: "angry", NEUTRAL: "neutral", FEARFUL: "fearful", DISGUSTED: "disgusted", SURPRISED: "surprised",
  Speech: "speech", BGM: "music", Applause: "applause", Laughter: "laughter", Cry: "crying", Sneeze: "sneezing", Cough: "coughing", Breath: "breathing", Sing: "singing", Speech_Noise: "noise",
  mic_insecure: "The browser gives the microphone only to pages opened over https or from this machine.",
  mic_denied: "The microphone was not allowed. Allow it in the browser's settings for this page.",
  mic_missing: "No microphone was found.", mic_failed: "The microphone can't be used: {reason}", mic_silent: "Nothing was recorded.",
  network: "The connection broke off.", wrong: "The service answered in a way this page does not know ({status}).",
};

const zh = {
  title: "把语音变成文字", page: "语音转文字", drop: "把音频拖到这里",
  formats: "支持 WAV、FLAC、OGG、MP3、WebM。音频只在本服务处理，不会保存。",
  choose: "选择文件", record: "录音", stop: "停止并识别", discard: "放弃", elapsed: "录音时长",
  language: "语言", itn: "标点和数字", signs: "用符号显示标签",
  results: "识别结果", empty: "还没有内容。拖入文件或录音后显示在这里。", clear: "全部清除",
  connecting: "正在连接…", serving: "当前模型 {version}", no_model: "尚未加载模型", offline: "服务没有响应",
  waiting: "等待中", sending: "正在上传 {percent}%", recognizing: "正在识别", retrying: "服务繁忙，正在重试",
  remove: "移除 {name}", copy: "复制", copied: "已复制", save: "将 {name} 保存为 {form}", again: "重试", times: "时间", play_from: "从 {time} 播放",
  nothing_said: "没有听到语音。", by: "由 {version} 识别 · 音频 {seconds} 秒，用时 {took} 秒",
  finished: "{name}：已完成", failed: "{name}：失败", recorded: "录音 {time}",
  other: "English", other_lang: "en",
  lang_auto: "自动检测", lang_zh: "普通话", lang_en: "英语", lang_yue: "粤语", lang_ja: "日语", lang_ko: "韩语",
  HAPPY: "高兴", SAD: "悲伤", ANGRY: "生气", NEUTRAL: "平静", FEARFUL: "害怕", DISGUSTED: "厌恶", SURPRISED: "惊讶",
  Speech: "语音", BGM: "音乐", Applause: "掌声", Laughter: "笑声", Cry: "哭声", Sneeze: "喷嚏", Cough: "咳嗽", Breath: "呼吸声", Sing: "歌声", Speech_Noise: "噪声",
  mic_insecure: "只有通过 https 或在本机打开的页面才能使用麦克风。",
  mic_denied: "麦克风未获许可。请在浏览器的网站设置中允许使用。",
  mic_missing: "没有找到麦克风。", mic_failed: "无法使用麦克风：{reason}", mic_silent: "没有录到声音。",
  network: "连接中断。", wrong: "服务的回答无法识别（{status}）。",
  empty_audio: "文件是空的。", unsupported_audio: "不支持这种音频格式。请使用 WAV、FLAC、OGG、MP3 或 WebM。",
  damaged_audio: "音频文件已损坏。", truncated_audio: "音频文件不完整。", audio_too_long: "音频太长。", upload_too_large: "文件太大。",
  upload_too_slow: "上传太慢，已中断。", unknown_language: "当前模型不支持这种语言。", busy: "服务繁忙，请稍后再试。",
  timeout: "识别超时。", model_failed: "模型处理这段音频时出错。", wrong_kind: "当前服务的不是语音模型。",
};

export const WORDS = { en, zh };
