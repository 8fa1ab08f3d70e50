/** A sentence whose `code` stands between backticks. */
export function Prose({ of }: { of: string }) {
  return <>{of.split("`").map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}</>;
}
