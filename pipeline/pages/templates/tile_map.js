"use strict";
/* The maps of the tiles: a picture with one square for each tile, whose value is shown where one points. */
(() => {
  const canvas = document.getElementById("map");
  if (!canvas) return;
  const {maps, firstRowIsLowest} = JSON.parse(document.getElementById("map-data").textContent);
  const choice = document.getElementById("map-name");
  const plane = document.getElementById("map-plane");
  const legend = document.getElementById("map-legend");
  const reading = document.getElementById("map-value");
  /* points of viridis, by which larger is brighter for all eyes; and colours of names, by Okabe and Ito */
  const RAMP = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129],
    [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const NAMED = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [240, 228, 66],
    [120, 120, 120]];
  const BAD = [213, 94, 0], NOTHING = [128, 128, 128];
  let at = null;

  const map = () => maps[Number(choice.value)];

  function values(one) {
    if (!one.decoded) {
      const bytes = Uint8Array.from(atob(one.values), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      one.decoded = Float32Array.from({length: bytes.length / 4}, (_, i) => view.getFloat32(4 * i, true));
    }
    return one.decoded;
  }

  function colour(one, value) {
    if (Number.isNaN(value)) return NOTHING;
    if (one.codes.length) return one.codes[value] === "quarantined" ? BAD : NAMED[value % NAMED.length];
    const share = Math.min(Math.max((value - one.low) / (one.high - one.low), 0), 1) * (RAMP.length - 1);
    const below = Math.min(Math.floor(share), RAMP.length - 2), part = share - below;
    return RAMP[below].map((light, i) => Math.round(light + part * (RAMP[below + 1][i] - light)));
  }

  function draw() {
    const one = map(), all = values(one);
    const group = Math.min(Number(plane.value) || 0, one.groups - 1);
    plane.max = String(one.groups - 1);
    document.getElementById("map-plane-label").hidden = one.groups === 1;
    canvas.width = one.columns;
    canvas.height = one.rows;
    canvas.style.maxWidth = `${Math.min(720, 420 * one.columns / one.rows)}px`;
    canvas.style.aspectRatio = `${one.columns} / ${one.rows}`;
    const pen = canvas.getContext("2d");
    const picture = pen.createImageData(one.columns, one.rows);
    for (let row = 0; row < one.rows; row++) {
      const drawn = firstRowIsLowest ? one.rows - 1 - row : row;
      for (let column = 0; column < one.columns; column++) {
        const value = all[(group * one.rows + row) * one.columns + column];
        const isAt = at && at.row === row && at.column === column;
        picture.data.set([...(isAt ? [255, 255, 255] : colour(one, value)), 255], 4 * (drawn * one.columns + column));
      }
    }
    pen.putImageData(picture, 0, 0);
    canvas.setAttribute("aria-label", `${one.title}: ${one.words}`);
    describe(one);
  }

  function describe(one) {
    legend.replaceChildren(`${one.meaning}. `);
    const css = (rgb) => `rgb(${rgb.join(" ")})`;
    const add = (className, background) => {
      const mark = document.createElement("span");
      mark.className = className;
      mark.style.background = background;
      legend.append(mark);
    };
    if (one.codes.length) {
      one.codes.forEach((name, code) => {
        add("swatch", css(colour(one, code)));
        legend.append(name);
      });
    } else if (new Set(values(one).filter((value) => !Number.isNaN(value))).size === 1) {
      legend.append(one.words);
    } else {
      legend.append(Number(one.low.toPrecision(4)).toString());
      add("scale", `linear-gradient(to right, ${RAMP.map(css).join(", ")})`);
      legend.append(Number(one.high.toPrecision(4)).toString());
    }
    add("swatch", css(NOTHING));
    legend.append("no value");
  }

  function read(row, column) {
    const one = map();
    at = {row: Math.min(Math.max(row, 0), one.rows - 1), column: Math.min(Math.max(column, 0), one.columns - 1)};
    const group = Math.min(Number(plane.value) || 0, one.groups - 1);
    const value = values(one)[(group * one.rows + at.row) * one.columns + at.column];
    const text = Number.isNaN(value) ? "no value"
      : one.codes.length ? one.codes[value] : Number(value.toPrecision(4)).toString();
    reading.textContent = `${one.title}, row ${at.row}, column ${at.column} of the tiles: ${text}`;
    draw();
  }

  choice.addEventListener("change", () => (at ? read(at.row, at.column) : draw()));
  plane.addEventListener("input", draw);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), one = map();
    const row = Math.floor((event.clientY - box.top) / box.height * one.rows);
    const column = Math.floor((event.clientX - box.left) / box.width * one.columns);
    read(firstRowIsLowest ? one.rows - 1 - row : row, column);
  });
  canvas.addEventListener("pointerleave", () => {
    at = null;
    draw();
  });
  const up = firstRowIsLowest ? 1 : -1;
  const steps = {ArrowUp: [up, 0], ArrowDown: [-up, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [down, right] = steps[event.key];
    read(at ? at.row + down : 0, at ? at.column + right : 0);
  });
  draw();
})();
