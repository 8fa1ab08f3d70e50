import { Component, type ComponentChildren } from "preact";
import { text } from "../text";
import { Empty } from "./messages";

/** A page that fails says so, and takes nothing else with it. */
export class Boundary extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false };

  static override getDerivedStateFromError() {
    return { failed: true };
  }

  override componentDidCatch(error: unknown) {
    console.error(error);
  }

  render() {
    if (!this.state.failed) return this.props.children;
    const again = <button onClick={() => this.setState({ failed: false })}>{text.common.again}</button>;
    return <Empty title={text.shell.broken} action={again} />;
  }
}
