// Chromium, pages in it, and checks of them.
//
// CHROMIUM is the browser, CAVERN_BROWSER the folder that playwright-core was installed in: `run` beside this file sets both.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(join(resolve(process.env.CAVERN_BROWSER), "/"))("playwright-core");
const QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

/** Widths of a page in CSS pixels: a screen, A4 upright with 12 mm of margin, 80 columns, a telephone. */
export const WIDTH = { screen: 1280, print: 703, columns: 640, telephone: 360 };

/** Chromium without a window; root has no sandbox. */
export function launched() {
  const chromiumSandbox = process.getuid?.() !== 0;
  return chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, chromiumSandbox, args: QUIET });
}

/** Opens a file as a page; `told` collects what it complains of and asks for. */
export async function opened(browser, path, options = {}) {
  const address = pathToFileURL(path).href;
  const context = await browser.newContext({ viewport: { width: WIDTH.screen, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const told = { errors: [], requests: [] };
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && told.errors.push(m.text()));
  page.on("pageerror", (e) => told.errors.push(String(e)));
  page.on("request", (r) => r.url().split("#")[0] !== address && !r.url().startsWith("data:") && told.requests.push(r.url()));
  await page.goto(address);
  return { page, told, close: () => context.close() };
}

/** Opens every closed part, as a reader would, but those of thousands of rows, which have a check of their own. */
export async function unfold(page) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = !d.classList.contains("long"))));
}

/** Runs some checks, each on a page of its own; the number that failed. */
export async function run(browser, path, checks, options) {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    const start = performance.now();
    const session = await opened(browser, path, options);
    const error = await check(session).then(() => null, (e) => e);
    await session.close();
    console.log(`${error ? "FAILED" : "ok"} ${name} (${Math.round(performance.now() - start)} ms)`);
    if (error) console.log(String(error.stack ?? error).replace(/^/gm, "    "));
    failed += error ? 1 : 0;
  }
  return failed;
}
