// Opens the page of examples/browser in Chromium, and does what standard input says, a line at a time:
//
//   state WORD           until the page says so of its connection
//   value TOPIC WORDS    until the card of the topic shows it
//   points TOPIC NUMBER  until so many values of the topic are drawn
//   screenshot FILE
//
// Each line is answered with itself when it has come true.
//
// node browser_page.js PAGE_DIRECTORY MQTT_JS CHROMIUM BROKER_URL

'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const { chromium } = require('playwright-core');

const [directory, mqttJs, executablePath, broker] = process.argv.slice(2);
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };
const DEADLINE_MS = 30_000;

function serve(request, response) {
  const name = path.basename(new URL(request.url, 'http://page').pathname) || 'index.html';
  const file = name === 'mqtt.min.js' ? mqttJs : path.join(directory, name);
  fs.readFile(file, (error, content) => {
    if (error) {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, { 'Content-Type': TYPES[path.extname(name)] ?? 'text/plain' }).end(content);
    }
  });
}

async function obey(page, line) {
  const [order, first, ...rest] = line.split(' ');
  const options = { timeout: DEADLINE_MS };
  const card = (topic) => `section[data-topic="${topic}"]`;
  switch (order) {
    case 'state':
      await page.waitForSelector(`#state[data-state="${first}"]`, options);
      break;
    case 'value':
      await page.waitForFunction(
        ([selector, words]) => document.querySelector(`${selector} .value`)?.textContent === words,
        [card(first), rest.join(' ')],
        options,
      );
      break;
    case 'points':
      await page.waitForFunction(
        ([selector, count]) => {
          const drawn = document.querySelector(`${selector} path`)?.getAttribute('d') ?? '';
          return drawn.split(/[ML]/).filter(Boolean).length >= count;
        },
        [card(first), Number(rest[0])],
        options,
      );
      break;
    case 'screenshot':
      await page.screenshot({ path: first });
      break;
    default:
      throw new Error(`no order: ${line}`);
  }
}

async function main() {
  const server = http.createServer(serve).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = new URL(`http://127.0.0.1:${server.address().port}/`);
  url.searchParams.set('broker', broker);
  // Containers have no user namespaces for its sandbox; the page is ours.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 530 }, colorScheme: 'light' });
    page.on('pageerror', (error) => console.error(`the page: ${error.message}`));
    await page.goto(url.href);
    for await (const line of readline.createInterface({ input: process.stdin })) {
      try {
        await obey(page, line);
      } catch (error) {
        const shown = await page.evaluate(() => document.body.innerText);
        throw new Error(`${line}: ${error.message}\nthe page shows: ${shown}`);
      }
      console.log(line);
    }
  } finally {
    await browser.close();
    server.close();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
