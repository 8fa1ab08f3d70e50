// Few icons, drawn with strokes. States differ by shape too, not by colour alone.
const PATHS = {
  ok: "M3.5 8.5l3 3 6-7",
  warn: "M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.6v.2",
  bad: "M4 4l8 8M12 4l-8 8",
  info: "M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 7.2v4M8 4.8v.2",
  unknown: "M5.6 6a2.4 2.4 0 114 1.8c-.9.7-1.6 1.1-1.6 2.2M8 12.4v.2",
  chevron: "M6 3.5L10.5 8 6 12.5",
  search: "M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.4 10.4L14 14",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  download: "M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11",
  hidden: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM3 13L13 3",
  trend: "M1.5 12l4-5 3 3 5.5-7",
  left: "M10 3.5L5.5 8l4.5 4.5",
  right: "M6 3.5L10.5 8 6 12.5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  play: "M4.5 3l8 5-8 5z",
  critical: "M8 1.2L14.8 8 8 14.8 1.2 8zM8 4.8v3.8M8 10.6v.2",
  high: "M8 2.2L14.6 13.6H1.4z",
  medium: "M3 3h10v10H3z",
  low: "M8 3a5 5 0 100 10A5 5 0 008 3z",
  sound: "M2 6v4h3l4 3.5v-11L5 6zM11.5 5.5a3.5 3.5 0 010 5",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  theme: "M8 2a6 6 0 100 12 6 6 0 000-12zM8 2v12M8 5h4.8M8 8h6M8 11h4.8",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, label }: { name: IconName; label?: string }) {
  const says = label ? { role: "img" as const, "aria-label": label } : { "aria-hidden": true as const };
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 16 16" {...says}>
      <path d={PATHS[name]} />
    </svg>
  );
}
