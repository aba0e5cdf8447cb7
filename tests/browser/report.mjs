// Checks of a report in Chromium: node report.mjs PAGE [SCREENSHOTS]. `run` beside this file calls it.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { WIDTH, launched, run, unfold } from "./browser.mjs";
import { headings, names, order, overflow, contrasts } from "./inspect.mjs";
import { screenshots } from "./screenshots.mjs";

const path = resolve(process.argv[2]);

const checks = {
  async "opens without complaint and asks for nothing"({ page, told }) {
    await unfold(page);
    await page.waitForTimeout(200);
    assert.deepEqual(told.errors, []);
    assert.deepEqual(told.requests, []);
    assert.match(await page.title(), /cavern/);
  },

  async "every link leads somewhere"({ page }) {
    const links = await page.$$eval("a[href]", (all) => all.map((a) => a.getAttribute("href")));
    assert.ok(links.some((l) => l.startsWith("#")));
    for (const link of links) {
      if (link.startsWith("#")) assert.equal(await page.locator(`[id="${link.slice(1)}"]`).count(), 1, link);
      else assert.ok(existsSync(join(dirname(path), decodeURIComponent(link))), `${link} is not beside the page`);
    }
    const last = page.locator("nav a").last();
    await last.click();
    assert.ok((await page.url()).endsWith(await last.getAttribute("href")));
  },

  async "a concept of the summary opens its part"({ page }) {
    const link = page.locator("#short tbody a").last();
    const part = page.locator(await link.getAttribute("href"));
    assert.equal(await part.evaluate((d) => d.open), false);
    await link.click();
    await page.waitForFunction((d) => d.open, await part.elementHandle());
  },

  async "no id is given twice"({ page }) {
    const ids = await page.$$eval("[id]", (all) => all.map((e) => e.id));
    assert.deepEqual(ids.filter((id, i) => ids.indexOf(id) !== i), []);
  },

  async "tables sort by mouse and filter"({ page }) {
    for (const table of await page.locator("details:not(.long) table.sortable, section > .scroll > table.sortable").all()) {
      await shown(table);
      const heads = await table.locator("thead th").all();
      await sorts(table, heads.slice(0, 1), (button) => button.click());
      await sorts(table, heads.slice(1), (button) => button.evaluate((b) => b.click()));
      await filters(page, table);
      await hidden(table);
    }
  },

  async "long tables sort by keyboard and filter"({ page }) {
    const table = page.locator("details.long table").first();
    await shown(table);
    const heads = ["th:not(.n)", "th.n"].map((one) => table.locator(`thead ${one}`).first());
    const keys = ["Enter", "Space"];
    await sorts(table, heads, (button, turn) => button.press(keys[turn]));
    await filters(page, table);
  },

  async "pictures, figures and controls have names"({ page }) {
    await unfold(page);
    const found = await names(page);
    assert.ok(found.count > 0);
    assert.deepEqual(found.nameless, []);
  },

  async "headings go down by one level"({ page }) {
    assert.deepEqual(await headings(page), []);
  },

  async "text stands out in light"({ page }) {
    await unfold(page);
    assert.deepEqual(await contrasts(page), []);
  },

  async "text stands out in the dark"({ page }) {
    await page.emulateMedia({ colorScheme: "dark" });
    await unfold(page);
    assert.deepEqual(await contrasts(page), []);
  },

  async "nothing runs out of the page at 80 columns"({ page }) {
    await fits(page, WIDTH.columns);
  },

  async "nothing runs out of the page on a telephone"({ page }) {
    await fits(page, WIDTH.telephone);
  },

  async "print shows what is closed"({ page }) {
    await page.emulateMedia({ media: "print" });
    const lost = await page.$$eval("details:not(.long)", (all) => {
      const hidden = (e) => !e.matches(".filter, .rest, .long, script, noscript") && !e.checkVisibility({ contentVisibilityAuto: true });
      return all.filter((d) => [...d.children].some(hidden)).map((d) => d.querySelector("summary").textContent);
    });
    assert.deepEqual(lost, []);
  },

  async "print cuts nothing at the right"({ page }) {
    await page.emulateMedia({ media: "print" });
    await fits(page, WIDTH.print);
    const cut = await page.$$eval(".scroll, .drawing, pre", (boxes) =>
      boxes.filter((b) => b.scrollWidth > b.clientWidth + 1).map((b) => `${b.closest("section")?.id}: ${b.scrollWidth} of ${b.clientWidth}`),
    );
    assert.deepEqual(cut, []);
  },

  async "print is black on white in the dark too"({ page }) {
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    assert.deepEqual(await contrasts(page), []);
    assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "light");
  },
};

/** Checks that need a browser of another kind. */
const without = {
  async "has its text and tables without JavaScript"({ page }) {
    const text = await page.innerText("body");
    for (const heading of ["What was run", "Findings", "Numbers"]) assert.ok(text.includes(heading), heading);
    assert.ok((await page.locator("table tbody tr").count()) > 20);
    assert.equal(await page.locator(".filter").count(), 0);
    await page.locator("details.long > summary").first().click();
    assert.ok((await page.locator("details.long table tbody tr").first().innerText()).length > 0);
  },
};

/** Opens the parts that a table stands in. */
const shown = (table) => table.evaluate((t) => { for (let d = t.closest("details"); d; d = d.parentElement.closest("details")) d.open = true; });
const hidden = (table) => table.evaluate((t) => { const d = t.closest("details"); if (d) d.open = false; });

/** Columns of a table, each pressed twice. */
async function sorts(table, heads, press) {
  const rows = await table.locator("tbody tr").count();
  for (const head of heads) {
    const button = head.getByRole("button");
    for (const [turn, wanted] of ["ascending", "descending"].entries()) {
      await press(button, turn);
      const name = `${await head.textContent()}, ${wanted}`;
      assert.equal(await head.getAttribute("aria-sort"), wanted, name);
      assert.equal(await table.locator("th[aria-sort]").count(), 1, name);
      assert.equal(await table.evaluate(order, { column: await head.evaluate((h) => h.cellIndex), wanted }), "", name);
    }
  }
  assert.equal(await table.locator("tbody tr").count(), rows);
}

/** A word of the first line, a word nobody wrote, and none. */
async function filters(page, table) {
  const rows = () => table.evaluate((t) => [...t.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.textContent.toLowerCase()));
  const before = await rows();
  const word = (await table.locator("tbody td").first().innerText()).toLowerCase().split(/\s/)[0];
  const box = table.locator("xpath=ancestor::*[contains(@class, 'scroll')]/preceding-sibling::input[@type='search'][1]");
  await box.fill(word);
  assert.deepEqual(await rows(), before.filter((text) => text.includes(word)), word);
  await box.fill("no such word");
  assert.deepEqual(await rows(), []);
  await box.fill("");
  assert.deepEqual(await rows(), before);
}

/** The page itself does not scroll sideways. */
async function fits(page, width) {
  await page.setViewportSize({ width, height: 900 });
  await unfold(page);
  assert.deepEqual(await overflow(page), []);
}

const browser = await launched();
try {
  const failed = (await run(browser, path, checks)) + (await run(browser, path, without, { javaScriptEnabled: false }));
  if (process.argv[3]) await screenshots(browser, path, resolve(process.argv[3]));
  console.log(failed ? `${failed} checks failed` : "the report passes");
  process.exitCode = failed ? 1 : 0;
} finally {
  await browser.close();
}
