// Pictures of a page, to be looked at.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { WIDTH, opened } from "./browser.mjs";

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  print: { media: "print" },
};
/** No picture is taller than this, in CSS pixels. */
const TALLEST = 2400;

/** The head of the page and each of its sections in light and dark; on paper the head, and all of it as a PDF. */
export async function screenshots(browser, path, folder) {
  mkdirSync(folder, { recursive: true });
  for (const [look, media] of Object.entries(LOOKS)) {
    const viewport = { width: look === "print" ? WIDTH.print : WIDTH.screen, height: 900 };
    const { page, close } = await opened(browser, path, { viewport });
    await page.emulateMedia(media);
    await page.screenshot({ path: join(folder, `${look}-top.png`) });
    if (look === "print") {
      await page.pdf({ path: join(folder, "print.pdf"), format: "A4" });
      await close();
      continue;
    }
    for (const section of await page.locator("main > section").all()) {
      const box = await section.boundingBox();
      const clip = { ...box, height: Math.min(box.height, TALLEST) };
      const file = join(folder, `${look}-${await section.getAttribute("id")}.png`);
      await page.screenshot({ path: file, fullPage: true, clip });
    }
    await close();
  }
}
