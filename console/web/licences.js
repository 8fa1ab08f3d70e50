import { readFileSync } from "node:fs";

const PACKAGE = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//;

/** Notes in licences.json whose packages are in the built pages, for the console's page About. */
export function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((one) => one.moduleIds ?? []);
      const folders = new Set(modules.map((id) => PACKAGE.exec(id.replaceAll("\0", ""))?.[1]).filter(Boolean));
      const packages = [...folders].sort().map((folder) => {
        const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
        return { name, version, licence: license };
      });
      this.emitFile({ type: "asset", fileName: "licences.json", source: JSON.stringify(packages, null, 1) });
    },
  };
}
