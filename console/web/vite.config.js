import { defineConfig } from "vite";
import { licences } from "./licences.js";

// The console's Content-Security-Policy allows nothing inline: no data: URLs, no scripts in the page.
export default defineConfig({
  plugins: [licences()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: ["chrome123", "firefox128", "safari17.5"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  // `npx vite` for development, beside a console on its usual port.
  server: { proxy: { "/api": { target: process.env.NEXUS_CONSOLE ?? "http://127.0.0.1:8090", ws: true } } },
});
