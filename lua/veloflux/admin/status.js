// The status page: draws what GET /api/status answers, again every two seconds. All text is set as text, never as
// markup: names and paths come from outside. Who has not said who that is gets the page without data; the browser asks
// for credentials when they are fetched.
"use strict";

const REFRESH_MS = 2000;
const $ = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const whole = new Intl.NumberFormat("en");
const count = (value) => whole.format(value);

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const CLASS = {
  healthy: "good", unknown: "warn", draining: "warn", degraded: "warn", ejected: "bad", unhealthy: "bad", disabled: "bad",
};
const badge = (text, className) => element("span", `badge ${className || CLASS[text] || ""}`, text);
const seconds = (value) => (value === null ? "" : `${count(value)} s ago`);

// A table: `columns` are [heading, function of a row, class of the cell].
function table(columns, rows) {
  const head = element("tr", "", ...columns.map(([name, , kind]) => element("th", kind === "number" ? kind : "", name)));
  const body = rows.map((row) =>
    element("tr", "", ...columns.map(([, value, kind]) => element("td", kind || "", value(row)))));
  return element("div", "panel", element("table", "", element("thead", "", head), element("tbody", "", ...body)));
}

const figure = (value, label) => element("div", "figure", element("b", "", value), element("span", "", label));

function figures(data) {
  const traffic = data.traffic;
  return element("div", "figures",
    figure(traffic.requests_per_second, "requests per second"),
    figure(traffic.errors_per_second, "errors (5xx) per second"),
    figure(`${bytes(traffic.bytes_out_per_second)}/s`, "sent"),
    figure(count(traffic.requests), "requests"),
    figure(count(traffic.connections), "open connections"),
    figure(`${data.ready_workers} of ${data.workers}`, "workers ready"),
    figure(data.config.version, "configuration version"),
    figure(data.uptime, "up"));
}

const BACKEND = [
  ["Backend", (b) => b.address],
  ["Health", (b) => badge(b.status)],
  ["Weight", (b) => b.weight, "number"],
  ["Requests/s", (b) => b.requests_per_second, "number"],
  ["Requests", (b) => count(b.requests), "number"],
  ["5xx", (b) => count(b.errors), "number"],
  ["In flight", (b) => b.in_flight, "number"],
  ["Connections", (b) => `${b.connections} (${b.idle_connections} idle)`, "number"],
  ["First byte", (b) => `${b.response_time_ms} ms`, "number"],
  ["Failed connections", (b) => count(b.connect_failures), "number"],
  ["Last check", (b) => (b.checked ? seconds(b.last_check_seconds_ago) : "none")],
  ["Reason", (b) => b.reason, "wide"],
];

const LISTENER = [
  ["Listener", (l) => l.name],
  ["Address", (l) => l.address],
  ["Connections", (l) => count(l.connections), "number"],
  ["Accepted", (l) => count(l.accepted), "number"],
  ["Requests", (l) => count(l.requests), "number"],
  ["Refused", (l) => count(l.refused), "number"],
];

const PROCESS = [
  ["Process", (p) => p.name],
  ["PID", (p) => p.pid, "number"],
  ["State", (p) => badge(p.draining ? "draining" : "running", p.draining ? "warn" : "good")],
  ["Version", (p) => p.config_version, "number"],
  ["Connections", (p) => count(p.connections), "number"],
  ["Exchanges", (p) => count(p.exchanges), "number"],
  ["Buffered", (p) => bytes(p.buffered_bytes), "number"],
  ["Loop lag", (p) => `${p.loop_lag_ms} ms`, "number"],
];

const ERROR = [
  ["Time", (e) => e.time],
  ["Status", (e) => e.status, "number"],
  ["Reason", (e) => e.reason],
  ["Pool", (e) => e.pool],
  ["Backend", (e) => e.backend],
  ["Path", (e) => e.path, "wide"],
];

function poolHeading(pool) {
  const name = pool.tenant === "default" ? pool.name : `${pool.tenant}/${pool.name}`;
  const facts = `${pool.algorithm}, ${count(pool.requests)} requests, ${pool.average_ms} ms on average, ` +
    `${count(pool.retries)} retries, ${count(pool.failovers)} failovers`;
  return element("h2", "", `Pool ${name} `, badge(pool.status), " ", element("small", "", facts));
}

function draw(data) {
  const parts = [figures(data)];
  if (!data.config.ok) {
    parts.push(element("p", "note bad", `The last configuration was refused: ${data.config.message}`));
  }
  for (const pool of data.pools) parts.push(poolHeading(pool), table(BACKEND, pool.backends));
  if (data.truncated) parts.push(element("p", "note warn", "There are more pools and backends than are shown here."));
  parts.push(element("h2", "", "Listeners ", element("small", "", `${count(data.routes)} routes`)), table(LISTENER, data.listeners));
  parts.push(element("h2", "", "Processes"), table(PROCESS, data.processes));
  parts.push(element("h2", "", "Recent errors"));
  parts.push(data.errors.length > 0 ? table(ERROR, data.errors) : element("p", "", "None."));
  $("content").replaceChildren(...parts);
  $("version").textContent = data.version;
  $("updated").textContent = `as of ${data.timestamp}`;
}

function showState(text, isGood) {
  $("state").textContent = text;
  $("state").className = `badge ${isGood ? "good" : "bad"}`;
}

async function refresh() {
  try {
    const response = await fetch("/api/status", { headers: { Accept: "application/json" }, cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const data = await response.json();
    draw(data);
    showState(data.status.replace("VeloFlux is ", ""), data.config.ok && data.ready_workers > 0);
  } catch (error) {
    showState(`no answer (${error.message})`, false);
  }
  setTimeout(refresh, REFRESH_MS);
}

const first = JSON.parse($("data").textContent);
if (first) draw(first);
refresh();
