// What the REST API answers, under the names that the pages use.
import type { components } from "../../generated/api";

type Schemas = components["schemas"];

export type Value = number | string | boolean | null;

export type About = Schemas["About"];
export type Alarm = Schemas["Alarm"];
export type AlarmPage = Schemas["AlarmPage"];
export type Annotation = Schemas["Annotation"];
export type Cause = Schemas["Cause"];
export type Checked = Schemas["Checked"];
export type Device = Schemas["Device"];
export type DeviceState = Device["state"];
export type Entry = Schemas["Entry"];
export type FileProblem = Schemas["FileProblem"];
export type FileVersion = Schemas["FileVersion"];
export type Gateway = Schemas["Gateway"];
export type GatewayFiles = Schemas["GatewayFiles"];
export type Hour = Schemas["Hour"];
export type Key = Schemas["Key"];
export type Last = Schemas["Last"];
export type Notification = Schemas["Notification"];
export type Plant = Schemas["Plant"];
export type Priority = Alarm["priority"];
export type Quality = Last["quality"];
export type Result = Schemas["Result"];
export type Role = Session["role"];
export type Series = Schemas["Series"];
export type Session = Schemas["Session"];
export type Statistics = Schemas["Statistics"];
export type Tag = Schemas["Tag"];
export type User = Schemas["User"];
export type Written = Schemas["Written"];
