"use strict";
const at = (id) => document.getElementById(id);
const limit = Number(document.body.dataset.limit);
let latest = 0;

function say(text, bad = false) {
  at("message").textContent = text;
  at("message").classList.toggle("bad", bad);
}

async function translate(photo) {
  if (!photo) return;
  if (photo.size > limit) {
    say(`The file is larger than ${limit / 2 ** 20} MiB.`, true);
    return;
  }
  const number = ++latest;
  say("Translating…");
  try {
    const answer = await fetch("translate", { method: "POST", body: photo });
    const content = await answer.json();
    // A later photograph may be on its way.
    if (number !== latest) return;
    if (!answer.ok) throw new Error(content.message);
    at("source").src = content.source;
    at("output").src = at("download").href = content.output;
    at("result").hidden = at("save").hidden = false;
    say("");
  } catch (error) {
    if (number !== latest) return;
    at("result").hidden = at("save").hidden = true;
    say(error instanceof TypeError ? "The server does not answer. Is enface demo still running?" : error.message, true);
  }
}

at("file").addEventListener("change", (event) => {
  translate(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => translate(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  translate(event.dataTransfer.files[0]);
});

function stop() {
  for (const track of at("video").srcObject?.getTracks() ?? []) track.stop();
  at("video").srcObject = null;
  at("live").hidden = true;
}

at("camera").addEventListener("click", async () => {
  try {
    at("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    at("live").hidden = false;
    say("");
  } catch (error) {
    say(`The camera cannot be used: ${error.message}.`, true);
  }
});
at("stop").addEventListener("click", stop);
at("take").addEventListener("click", () => {
  const video = at("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(translate, "image/png");
});
