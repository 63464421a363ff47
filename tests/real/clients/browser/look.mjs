// Looks at a page of this machine with a real browser that may run none of the page's scripts, as a reader with
// a telephone, a desk, a dark room and a printer would. One JSON object a line.
//
//   node look.mjs --browser chromium --page report.html --shots directory

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

const { values } = parseArgs({
  options: {
    browser: { type: "string" },
    page: { type: "string" },
    shots: { type: "string" },
  },
});

// Of 30 s, which is the default, a machine that compiles may leave the browser little.
const timeout = 120_000;

const browser = await puppeteer.launch({
  executablePath: values.browser,
  timeout,
  // A container has no other user and little shared memory; the page is our own.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"],
});

// What a picture shows, counted by the browser itself: how many colours, and the share of the commonest one.
async function colours(picture) {
  const page = await browser.newPage();
  const counted = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    return { colours: counts.size, commonest: Math.max(...counts.values()) / pixels.length };
  }, Buffer.from(picture).toString("base64"));
  await page.close();
  return counted;
}

async function look(name, width, scheme, media) {
  const page = await browser.newPage();
  const requests = [];
  const errors = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.setJavaScriptEnabled(false);
  await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
  // Either takes back what the other said.
  if (media === "print") await page.emulateMediaType(media);
  else await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(values.page).href, { waitUntil: "networkidle0", timeout });
  const found = await page.evaluate(() => {
    const root = document.documentElement;
    const wide = [...document.querySelectorAll("body *")].filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width > 0 && box.right > root.clientWidth + 1;
    });
    return {
      overflow: root.scrollWidth - root.clientWidth,
      wide: wide.slice(0, 3).map((element) => element.outerHTML.slice(0, 120)),
      text: document.body?.innerText ?? root.textContent,
      background: getComputedStyle(document.body ?? root).backgroundColor,
      scripts: document.querySelectorAll("script").length,
    };
  });
  const picture = await page.screenshot({ fullPage: true, type: "png" });
  await writeFile(join(values.shots, `${name}.png`), picture);
  console.log(JSON.stringify({ name, width, scheme, requests, errors, ...found, ...(await colours(picture)) }));
  await page.close();
}

console.log(JSON.stringify({ name: "version", version: await browser.version() }));
await look("desk", 1280, "light", "screen");
await look("desk-dark", 1280, "dark", "screen");
await look("telephone", 400, "light", "screen");
await look("telephone-dark", 400, "dark", "screen");
await look("paper", 720, "light", "print");
await browser.close();
