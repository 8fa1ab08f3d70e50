import "./style/base.css";
import "./style/controls.css";
import "./style/shell.css";
import "./style/alarms.css";
import "./style/table.css";
import "./style/pages.css";
import { render } from "preact";
import { App } from "./app";
import { start } from "./router";
import { applyTheme } from "./settings";
import { language } from "./text";

applyTheme();
document.documentElement.lang = language;
start();
render(<App />, document.getElementById("app")!);
