// What can be asked of a page that is open: faults as text, none where all is well.

/** Roles that a reader who does not see must be told the name of. */
const NAMED = new Set(["image", "img", "figure", "button", "link", "searchbox", "DisclosureTriangle", "navigation", "graphics-document"]);

/** Nodes of the accessibility tree without a name. */
export async function names(page) {
  const client = await page.context().newCDPSession(page);
  const { nodes } = await client.send("Accessibility.getFullAXTree");
  const wanted = nodes.filter((n) => !n.ignored && NAMED.has(n.role?.value));
  const nameless = wanted.filter((n) => !n.name?.value?.trim());
  return { count: wanted.length, nameless: nameless.map((n) => `${n.role.value} ${n.nodeId}`) };
}

/** Headings that skip a level. */
export function headings(page) {
  return page.evaluate(() => {
    const all = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")];
    const level = (h) => Number(h.tagName[1]);
    const skips = all.filter((h, i) => level(h) > (i ? level(all[i - 1]) : 0) + 1);
    return skips.map((h) => `${h.tagName} ${h.textContent}`);
  });
}

/** Where a column is out of order; runs in the page. Cells without a number stand last in both directions. */
export function order(table, { column, wanted }) {
  const head = table.tHead.rows[0].cells[column];
  const numbers = head.classList.contains("n");
  const value = (row) => {
    const cell = row.cells[column];
    const text = (cell.dataset.v ?? cell.textContent).replaceAll("\u2212", "-").trim();
    const number = /^[^\d-]*(-?\d[\d.]*(?:e-?\d+)?)/.exec(text);
    return numbers ? (number ? Number(number[1]) : null) : text;
  };
  const compare = (a, b) => (numbers ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const values = [...table.tBodies[0].rows].map(value);
  for (let i = 1; i < values.length; i++) {
    const [a, b] = [values[i - 1], values[i]];
    const wrong = a === null ? b !== null : b !== null && (wanted === "ascending" ? compare(a, b) > 0 : compare(a, b) < 0);
    if (wrong) return `${a} before ${b}`;
  }
  return "";
}

/** What is wider than the page and stands in no box that scrolls. */
export function overflow(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const scrolls = (e) => e && (["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    const wide = [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
    const loose = wide.filter((e) => !scrolls(e.parentElement)).map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`);
    return [`${root.scrollWidth} of ${root.clientWidth}`, ...loose.slice(0, 5)];
  });
}

/** Text with a contrast below 4.5:1 against what it stands on (WCAG 2.2, 1.4.3), with how often. */
export function contrasts(page) {
  return page.evaluate(() => {
    const WANTED = 4.5;
    const colour = (text) => {
      const numbers = text.match(/-?[\d.]+(?:e-?\d+)?/g)?.map(Number);
      if (text.startsWith("#")) return colour(`rgb(${text.slice(1).match(/../g).map((h) => parseInt(h, 16)).join()})`);
      if (text.startsWith("rgb")) return [...numbers.slice(0, 3), numbers[3] ?? 1];
      if (text.startsWith("color(srgb")) return [...numbers.slice(0, 3).map((v) => 255 * v), numbers[3] ?? 1];
      return null;
    };
    const over = (top, ground, opacity = 1) => ground.map((g, i) => g + (top[i] - g) * top[3] * opacity);
    const light = (c) => {
      const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => {
      const [x, y] = [light(a), light(b)];
      return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    };
    const above = (e) => (e ? [...above(e.parentElement), e] : []);
    /** The colour behind an element's text, and the product of opacities. */
    const standing = (e) => {
      let [ground, opacity] = [[255, 255, 255], 1];
      for (const a of above(e)) {
        const style = getComputedStyle(a);
        ground = over(colour(style.backgroundColor) ?? [0, 0, 0, 0], ground, opacity);
        opacity *= Number(style.opacity);
      }
      return [ground, opacity];
    };
    /** Shapes of a figure that were painted before a text and lie below its middle. */
    const painted = (text, ground) => {
      const box = text.getBoundingClientRect();
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      for (const shape of text.ownerSVGElement.querySelectorAll("rect")) {
        if (shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_PRECEDING) break;
        const b = shape.getBoundingClientRect();
        const style = getComputedStyle(shape);
        const fill = colour(style.fill);
        if (fill && b.left <= x && x <= b.right && b.top <= y && y <= b.bottom) {
          ground = over(fill, ground, Number(style.fillOpacity) * Number(style.opacity));
        }
      }
      return ground;
    };
    const weak = new Map();
    for (const e of document.body.querySelectorAll("*:not(script, style, noscript, svg, g)")) {
      const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
      if (!own || !e.checkVisibility()) continue;
      const drawn = e instanceof SVGElement;
      const style = getComputedStyle(e);
      let [ground, opacity] = standing(e);
      if (drawn) ground = painted(e, ground);
      const ink = colour(drawn ? style.fill : style.color);
      const found = ratio(over(ink, ground, opacity * (drawn ? Number(style.fillOpacity) : 1)), ground);
      if (found < WANTED) {
        const place = `${e.closest("section")?.id ?? "top"} ${e.tagName.toLowerCase()}.${drawn ? style.fill : e.className}`;
        const line = `${place}, ${found.toFixed(2)}:1, as in “${e.textContent.trim().slice(0, 30)}”`;
        weak.set(place, { line: weak.get(place)?.line ?? line, count: (weak.get(place)?.count ?? 0) + 1 });
      }
    }
    return [...weak.values()].map((w) => `${w.count} times ${w.line}`);
  });
}
