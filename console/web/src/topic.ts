// Topics of tags: `dev/{device path}/{tag}`.
const ROOT = /^dev\//;

/** Without what all of them begin with. */
export const brief = (topic: string) => topic.replace(ROOT, "");

export const deviceOf = (topic: string) => brief(topic).split("/").slice(0, -1).join("/");
