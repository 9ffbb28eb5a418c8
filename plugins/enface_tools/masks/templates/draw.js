"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("contents").textContent);
  const { height, width } = data;
  const canvas = find("canvas"), context = canvas.getContext("2d"), surface = find("surface");
  const tint = Object.assign(document.createElement("canvas"), { width, height });
  const MARK = [0, 200, 240, 190], MASK = [255, 171, 26, 105];
  // Number of images on which each pixel is marked; the mask is where it is not 0.
  const counts = new Uint16Array(height * width);
  const faces = data.faces.map(({ key, image, marks }) => ({
    key, image: Object.assign(new Image(), { src: image }), marks: new Uint8Array(height * width), size: 0,
    done: [], undone: [], anchor: null, thumb: null, given: marks,
  }));
  let current = 0, inUnion = 0, pointer = null, stroke = null, last = null;
  let revision = 0, savedRevision = 0, saving = false, ended = false;
  const wide = matchMedia("(min-width: 52.01rem)");
  const face = () => faces[current];
  const erasing = () => find("erase").checked;
  const joining = () => find("join").checked && !erasing();

  // ---------------------------------------------------------------- annotations

  function count(index, change) {
    const before = counts[index] > 0;
    counts[index] += change;
    inUnion += (counts[index] > 0) - before;
  }

  function flip(on, index) {
    on.marks[index] ^= 1;
    const change = on.marks[index] ? 1 : -1;
    on.size += change;
    count(index, change);
  }

  function stamp([row, column], value) {
    const brush = Number(find("width").value), before = (brush - 1) >> 1;
    for (let r = row - before; r < row - before + brush; r++) {
      for (let c = column - before; c < column - before + brush; c++) {
        const index = r * width + c;
        if (r < 0 || c < 0 || r >= height || c >= width || face().marks[index] === value) continue;
        flip(face(), index);
        stroke.changed.push(index);
      }
    }
  }

  function drawTo(point) {
    const [row, column] = last ?? point, [down, right] = [point[0] - row, point[1] - column];
    const steps = Math.max(Math.abs(down), Math.abs(right), 1);
    for (let step = 0; step <= steps; step++) {
      stamp([row + Math.round((down * step) / steps), column + Math.round((right * step) / steps)], erasing() ? 0 : 1);
    }
    last = point;
  }

  function begin(point) {
    // Pixels marked while "Save and close" is pending would be lost.
    if (saving) return;
    stroke = { changed: [], before: face().anchor, after: null };
    last = joining() ? face().anchor : null;
    drawTo(point);
    show();
  }

  function end() {
    if (!stroke) return;
    stroke.after = face().anchor = joining() ? last : null;
    record(stroke);
    stroke = null;
    show();
  }

  function record(edit) {
    if (!edit.changed.length) return;
    face().done.push(edit);
    face().undone.length = 0;
    revision++;
  }

  function replay(from, to, anchor) {
    const edit = stroke ? null : face()[from].pop();
    if (!edit) return;
    edit.changed.forEach((index) => flip(face(), index));
    face()[to].push(edit);
    face().anchor = edit[anchor];
    revision++;
    show();
  }

  function clearFace() {
    const changed = [...face().marks.keys()].filter((index) => face().marks[index]);
    changed.forEach((index) => flip(face(), index));
    record({ changed, before: face().anchor, after: null });
    newLine();
  }

  function newLine() {
    face().anchor = null;
    show();
  }

  const points = (marks) => [...marks.keys()].filter((i) => marks[i]).map((i) => [Math.floor(i / width), i % width]);
  const drawn = () => Object.fromEntries(faces.filter((one) => one.size).map((one) => [one.key, points(one.marks)]));

  // ---------------------------------------------------------------- display

  function paint(to, one, withMask) {
    const layer = tint.getContext("2d"), pixels = layer.createImageData(width, height);
    one.marks.forEach((marked, i) => {
      if (marked) pixels.data.set(MARK, 4 * i);
      else if (withMask && counts[i]) pixels.data.set(MASK, 4 * i);
    });
    layer.putImageData(pixels, 0, 0);
    to.drawImage(one.image, 0, 0);
    to.drawImage(tint, 0, 0);
  }

  function thumbnail(one, number) {
    paint(one.thumb.querySelector("canvas").getContext("2d"), one, false);
    one.thumb.querySelector("i").hidden = !one.size;
    one.thumb.setAttribute("aria-label", `Face ${number + 1}, ${one.size ? `${one.size} pixels marked` : "nothing marked"}`);
    if (one === face()) one.thumb.setAttribute("aria-current", "true");
    else one.thumb.removeAttribute("aria-current");
  }

  function box(id, corner, brush) {
    const shape = find(id);
    shape.toggleAttribute("hidden", !corner);
    if (!corner) return;
    const before = (brush - 1) >> 1;
    Object.entries({ x: corner[1] - before, y: corner[0] - before, width: brush, height: brush })
      .forEach(([name, value]) => shape.setAttribute(name, value));
  }

  function showPointer() {
    const anchor = joining() && !stroke ? face().anchor : null;
    box("cursor", pointer, Number(find("width").value));
    box("anchor", anchor, 1);
    find("rubber").toggleAttribute("hidden", !(anchor && pointer));
    if (anchor && pointer) {
      const [x1, y1, x2, y2] = [anchor[1], anchor[0], pointer[1], pointer[0]].map((value) => value + 0.5);
      Object.entries({ x1, y1, x2, y2 }).forEach(([name, value]) => find("rubber").setAttribute(name, value));
    }
    find("pixel").textContent = pointer ? `row ${pointer[0]}, column ${pointer[1]}` : "\u00a0";
  }

  const off = (id, is) => find(id).setAttribute("aria-disabled", String(is));
  const number = (value) => value.toLocaleString("en");

  function show() {
    const one = face();
    paint(context, one, find("all").checked);
    thumbnail(one, current);
    find("here").textContent = `${number(one.size)} on this face`;
    find("count").textContent = number(inUnion);
    const share = ((100 * inUnion) / (height * width)).toFixed(1);
    find("count-of").textContent = `of ${number(height * width)} pixels marked (${share} %)`;
    find("width-value").textContent = `${find("width").value} px`;
    off("undo", !one.done.length);
    off("redo", !one.undone.length);
    off("clear", !one.size);
    off("new-line", !(joining() && one.anchor));
    if (revision !== savedRevision && !saving && !find("status").classList.contains("bad")) report("Not saved yet.");
    showPointer();
  }

  function go(to) {
    if (to < 0 || to >= faces.length || to === current || stroke) return;
    const left = current;
    face().anchor = null;
    arrive(to);
    thumbnail(faces[left], left);
  }

  function arrive(to) {
    current = to;
    const place = document.createElement("b"), key = document.createElement("span");
    place.textContent = `Face ${to + 1} of ${faces.length}`;
    key.textContent = face().key;
    find("place").replaceChildren(place, key);
    surface.setAttribute("aria-label", `Face ${to + 1} of ${faces.length}`);
    off("previous", to === 0);
    off("next", to === faces.length - 1);
    show();
  }

  function fit() {
    const dense = window.devicePixelRatio || 1, beside = wide.matches;
    // Space left by the tools beside the face and by the lines and thumbnails above and below it.
    const space = Math.min(document.documentElement.clientWidth - (beside ? 384 : 32), 720, Math.max(288, innerHeight - 228));
    // An integer number of screen pixels per pixel of the face.
    const scale = Math.max(1, Math.floor((space * dense) / Math.max(height, width))) / dense;
    canvas.style.width = `${width * scale}px`;
    canvas.style.height = `${height * scale}px`;
  }

  // ---------------------------------------------------------------- saving

  function report(text, bad = false) {
    find("status").textContent = text;
    find("status").classList.toggle("bad", bad);
  }

  async function save(close) {
    if (saving || ended) return;
    end();
    saving = true;
    const sent = revision;
    report("Saving …");
    try {
      const answer = await fetch("save", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ marks: drawn(), close }),
      });
      const { message } = await answer.json();
      if (answer.ok) savedRevision = sent;
      report(message, !answer.ok);
      find("rescue").hidden = true;
      if (answer.ok && close) finish(message);
    } catch {
      report(`Not saved: the command that serves this page has ended. Download the annotations, put them beside ${data.out}, and start it again.`, true);
      find("rescue").hidden = false;
    }
    saving = false;
  }

  function finish(message) {
    ended = true;
    find("page").hidden = true;
    find("end").hidden = false;
    find("end-message").textContent = message;
    find("end").focus();
  }

  function rescue() {
    const text = JSON.stringify({ height, width, marks: { ...data.offPage, ...drawn() } });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = data.annotationsName;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // ---------------------------------------------------------------- input

  function under(event) {
    const area = canvas.getBoundingClientRect();
    return [
      Math.floor(((event.clientY - area.top) / area.height) * height),
      Math.floor(((event.clientX - area.left) / area.width) * width),
    ];
  }

  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return;
    surface.setPointerCapture(event.pointerId);
    pointer = under(event);
    begin(pointer);
  });
  surface.addEventListener("pointermove", (event) => {
    pointer = under(event);
    if (!stroke) return showPointer();
    drawTo(pointer);
    show();
  });
  ["pointerup", "pointercancel"].forEach((name) => surface.addEventListener(name, (event) => {
    if (event.pointerType === "touch") pointer = null;
    end();
  }));
  surface.addEventListener("pointerleave", () => { pointer = null; showPointer(); });

  const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function move([down, right]) {
    const [row, column] = pointer ?? face().anchor ?? [height >> 1, width >> 1];
    pointer = [Math.min(Math.max(row + down, 0), height - 1), Math.min(Math.max(column + right, 0), width - 1)];
    const marked = face().marks[pointer[0] * width + pointer[1]];
    find("spoken").textContent = `row ${pointer[0]}, column ${pointer[1]}, ${marked ? "marked" : "not marked"}`;
    showPointer();
  }

  surface.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && ARROWS[event.key]) move(ARROWS[event.key]);
    else if (event.key === " " && !stroke) {
      if (!pointer) move([0, 0]);
      begin(pointer);
      end();
    } else if (event.key.toLowerCase() === "e") find(erasing() ? "draw" : "erase").click();
    else if (event.key.toLowerCase() === "l") find("join").click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  document.addEventListener("keydown", (event) => {
    if (ended) return;
    const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
    if (command && key === "z") replay(...(event.shiftKey ? ["undone", "done", "after"] : ["done", "undone", "before"]));
    else if (command && key === "s") save(false);
    else if (command || event.altKey) return;
    else if (key === "escape") newLine();
    // Sliders and radio buttons use the arrows themselves.
    else if (!event.shiftKey && /^arrow(left|right)$/.test(key) && !event.target.matches('[type="range"], [type="radio"]')) {
      go(current + ARROWS[event.key][1]);
    } else return;
    event.preventDefault();
  });

  const actions = {
    previous: () => go(current - 1), next: () => go(current + 1), "new-line": newLine, clear: clearFace,
    undo: () => replay("done", "undone", "before"), redo: () => replay("undone", "done", "after"),
    save: () => save(false), "save-close": () => save(true), rescue,
  };
  Object.entries(actions).forEach(([id, action]) => find(id).addEventListener("click", action));
  ["draw", "erase", "join", "all", "width"].forEach((id) => find(id).addEventListener("input", show));
  addEventListener("resize", fit);
  addEventListener("beforeunload", (event) => { if (revision !== savedRevision) event.preventDefault(); });

  // ---------------------------------------------------------------- start

  async function start() {
    await Promise.all(faces.map((one) => one.image.decode()));
    Object.values(data.offPage).flat().forEach(([row, column]) => count(row * width + column, 1));
    faces.forEach((one, number) => {
      one.given.forEach(([row, column]) => flip(one, row * width + column));
      one.thumb = Object.assign(document.createElement("button"), { type: "button" });
      one.thumb.append(Object.assign(document.createElement("canvas"), { width, height }), document.createElement("i"));
      one.thumb.addEventListener("click", () => go(number));
      const item = document.createElement("li");
      item.append(one.thumb);
      find("thumbs").append(item);
    });
    faces.forEach(thumbnail);
    find("help").open = wide.matches && innerHeight > 800;
    fit();
    arrive(0);
    document.body.dataset.ready = "true";
  }

  start();
})();
