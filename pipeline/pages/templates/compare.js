"use strict";
/* The viewer: two pictures on top of each other, divided by a line, that zoom down to single pixels. */
(() => {
  const figures = Array.from(document.querySelectorAll("#pictures .picture"));
  const frame = document.getElementById("frame");
  const split = document.getElementById("split");
  if (!frame || figures.length === 0) return;
  document.documentElement.classList.add("scripted");

  /* Above this zoom, pixels are drawn as squares; the largest zoom shows a pixel as a square of 64. */
  const SHARP = 1, MOST = 64, STEP = 1.5;
  const view = {picture: 0, side: "after", zoom: 1, x: 0, y: 0, split: 50, fitted: true};
  const layers = {};
  for (const name of ["right", "left"]) {
    const layer = document.createElement("div");
    layer.className = "layer";
    const moved = document.createElement("div");
    moved.className = "moved";
    layer.append(moved);
    const label = document.createElement("span");
    label.className = `label ${name}`;
    layer.append(label);
    frame.append(layer);
    layers[name] = {layer, moved, label};
  }
  const handle = document.createElement("div");
  handle.className = "handle";
  frame.append(handle);

  const figure = () => figures[view.picture];
  const size = () => ({width: Number(figure().dataset.width), height: Number(figure().dataset.height)});
  const title = () => {
    const caption = figure().querySelector("figcaption");
    return caption.querySelector("button")?.ariaLabel ?? caption.textContent;
  };
  const image = (name) => figure().querySelector(`img.${name}`);

  function fill(side, name, text) {
    const {moved, label} = layers[side];
    const from = image(name);
    moved.replaceChildren();
    if (from) {
      const copy = from.cloneNode();
      copy.draggable = false;
      copy.width = size().width;
      copy.height = size().height;
      moved.append(copy);
    }
    label.textContent = text;
    label.hidden = !from;
  }

  function marks() {
    /* where the regions are, in the picture of the whole image */
    if (view.picture !== 0) return;
    for (const other of figures.slice(1).filter((one) => one.dataset.place)) {
      const [left, top, width, height] = other.dataset.place.split(" ").map(Number);
      for (const side of Object.values(layers)) {
        const mark = document.createElement("div");
        mark.className = "mark";
        Object.assign(mark.style, {left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%`});
        side.moved.append(mark);
      }
    }
  }

  function show(picture) {
    view.picture = picture;
    const hasRemoved = Boolean(image("removed"));
    const side = view.side === "removed" && hasRemoved ? "removed" : "after";
    fill("right", side, side === "after" ? "after" : "removed");
    fill("left", "before", "before");
    document.getElementById("end").textContent = side === "after" ? "After" : "Removed";
    marks();
    const hasBefore = Boolean(image("before"));
    handle.hidden = !hasBefore;
    split.disabled = !hasBefore;
    layers.left.layer.hidden = !hasBefore;
    press("[data-picture]", (button) => Number(button.dataset.picture) === picture);
    press("[data-side]", (button) => button.dataset.side === side);
    document.querySelector('[data-side="removed"]').disabled = !hasRemoved;
    document.getElementById("place").textContent = title();
    fit();
  }

  function press(selector, isPressed) {
    for (const button of document.querySelectorAll(selector)) {
      button.setAttribute("aria-pressed", String(isPressed(button)));
    }
  }

  function fit() {
    const {width, height} = size();
    const box = frame.getBoundingClientRect();
    view.zoom = Math.min(box.width / width, box.height / height, MOST);
    if (view.zoom > 1) view.zoom = Math.floor(view.zoom);
    view.x = (box.width - width * view.zoom) / 2;
    view.y = (box.height - height * view.zoom) / 2;
    view.fitted = true;
    draw();
  }

  function zoomTo(zoom, atX, atY) {
    const box = frame.getBoundingClientRect();
    const x = atX ?? box.width / 2, y = atY ?? box.height / 2;
    const least = Math.min(box.width / size().width, box.height / size().height, 1) / 2;
    const next = Math.min(Math.max(zoom, least), MOST);
    view.x = x - (x - view.x) * next / view.zoom;
    view.y = y - (y - view.y) * next / view.zoom;
    view.zoom = next;
    view.fitted = false;
    draw();
  }

  function move(dx, dy) {
    view.x += dx;
    view.y += dy;
    view.fitted = false;
    draw();
  }

  function draw() {
    const {width, height} = size();
    const box = frame.getBoundingClientRect();
    /* some of the picture stays in the frame */
    const rest = 40;
    view.x = Math.min(Math.max(view.x, rest - width * view.zoom), box.width - rest);
    view.y = Math.min(Math.max(view.y, rest - height * view.zoom), box.height - rest);
    for (const {moved} of Object.values(layers)) {
      moved.style.width = `${width}px`;
      moved.style.height = `${height}px`;
      moved.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
      moved.querySelector("img")?.classList.toggle("sharp", view.zoom >= SHARP);
      for (const mark of moved.querySelectorAll(".mark")) mark.style.outlineWidth = `${2 / view.zoom}px`;
    }
    const shown = handle.hidden ? 0 : view.split;
    layers.left.layer.style.clipPath = `inset(0 ${100 - shown}% 0 0)`;
    handle.style.left = `${shown}%`;
    split.value = String(view.split);
    const factor = Number(figure().dataset.factor);
    const zoom = view.zoom / factor;
    document.getElementById("zoom").textContent =
      zoom >= 1 ? `${Number(zoom.toPrecision(3))} : 1` : `1 : ${Number((1 / zoom).toPrecision(3))}`;
  }

  function setSplit(value) {
    view.split = Math.min(Math.max(value, 0), 100);
    draw();
  }

  for (const button of document.querySelectorAll("[data-picture]")) {
    button.addEventListener("click", () => show(Number(button.dataset.picture)));
  }
  for (const button of document.querySelectorAll("[data-side]")) {
    button.addEventListener("click", () => {
      const {zoom, x, y, fitted} = view;
      view.side = button.dataset.side;
      show(view.picture);
      if (!fitted) Object.assign(view, {zoom, x, y, fitted});
      draw();
    });
  }
  const zooms = {
    in: () => zoomTo(view.zoom * STEP),
    out: () => zoomTo(view.zoom / STEP),
    one: () => zoomTo(1),
    fit,
  };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", zooms[button.dataset.zoom]);
  }
  split.addEventListener("input", () => setSplit(Number(split.value)));

  const pan = 40;
  const keys = {
    ArrowLeft: () => move(pan, 0), ArrowRight: () => move(-pan, 0),
    ArrowUp: () => move(0, pan), ArrowDown: () => move(0, -pan),
    "+": zooms.in, "=": zooms.in, "-": zooms.out, "0": fit, "1": zooms.one,
    "[": () => setSplit(view.split - 5), "]": () => setSplit(view.split + 5),
  };
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoomTo(view.zoom * Math.pow(1.0018, -event.deltaY), event.clientX - box.left, event.clientY - box.top);
  }, {passive: false});
  frame.addEventListener("pointerdown", (event) => {
    const box = frame.getBoundingClientRect();
    const onLine = !handle.hidden && Math.abs(event.clientX - box.left - box.width * view.split / 100) < 20;
    let last = {x: event.clientX, y: event.clientY};
    frame.setPointerCapture(event.pointerId);
    const drag = (moved) => {
      if (onLine) setSplit(100 * (moved.clientX - box.left) / box.width);
      else move(moved.clientX - last.x, moved.clientY - last.y);
      last = {x: moved.clientX, y: moved.clientY};
    };
    frame.addEventListener("pointermove", drag);
    frame.addEventListener("pointerup", () => frame.removeEventListener("pointermove", drag), {once: true});
    frame.addEventListener("pointercancel", () => frame.removeEventListener("pointermove", drag), {once: true});
  });
  new ResizeObserver(() => (view.fitted ? fit() : draw())).observe(frame);
  show(Number(document.getElementById("pictures").dataset.first ?? 0));
})();
