// Checks of the page of a large study in Chromium: node large.mjs PAGE. How long things take is told, not judged.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { launched, run } from "./browser.mjs";

const path = resolve(process.argv[2]);
const MIB = 2 ** 20;

const tell = (what, ms) => console.log(`   ${what}: ${Math.round(ms)} ms`);

/** Milliseconds from a step in the page until what it asked for is drawn. */
const until = (page, step) =>
  page.evaluate(`(async () => {
    const start = performance.now();
    await (${step})();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
  })()`);

/** Opens the first part of a class; runs in the page. */
const open = (name) => `() => {
  const part = document.querySelector("details.${name}");
  part.open = true;
  return new Promise((done) => part.addEventListener("toggle", done, { once: true }));
}`;

const checks = {
  async "is below 20 MB and opens"({ page, told }) {
    const size = statSync(path).size;
    console.log(`   ${(size / MIB).toFixed(1)} MiB`);
    tell("until load", await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd));
    assert.ok(size < 20e6, `${size} bytes`);
    assert.deepEqual([told.errors, told.requests], [[], []]);
  },

  async "long tables are made when they are opened, and sort and filter"({ page }) {
    const part = page.locator("details.long").first();
    const rows = part.locator("tbody tr");
    assert.equal(await rows.count(), 0);
    tell("opening a table", await until(page, open("long")));
    assert.equal(await rows.count(), 500);
    tell("sorting it", await until(page, () => document.querySelector("details.long th:nth-child(6) button").click()));
    const type = () => {
      const box = document.querySelector("details.long input");
      box.value = "svm accuracy";
      box.dispatchEvent(new Event("input"));
    };
    tell("filtering it", await until(page, type));
    assert.ok((await rows.allTextContents()).every((text) => /svm/i.test(text) && /accuracy/i.test(text)));
  },

  async "the part of a concept opens"({ page }) {
    tell("opening it", await until(page, open("concept")));
    const part = page.locator("details.concept").first();
    assert.ok((await part.locator(".pivot tbody tr").count()) > 40);
    assert.ok((await part.locator("img").count()) > 0);
  },
};

const plain = {
  async "without JavaScript, the tables' file is named"({ page }) {
    await page.locator("details.long > summary").first().click();
    assert.match(await page.locator("details.long").first().innerText(), /metrics\.csv/);
  },
};

const browser = await launched();
try {
  const failed = (await run(browser, path, checks)) + (await run(browser, path, plain, { javaScriptEnabled: false }));
  console.log(failed ? `${failed} checks failed` : "the large page passes");
  process.exitCode = failed ? 1 : 0;
} finally {
  await browser.close();
}
