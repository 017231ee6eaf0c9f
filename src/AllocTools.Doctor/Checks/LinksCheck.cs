using System.Text.Json.Nodes;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks whether the ports of RDMA devices are up: /sys/class/infiniband/DEVICE/ports/PORT/state.</summary>
internal sealed class LinksCheck() : Check("links")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        foreach (string device in machine.List("/sys/class/infiniband"))
        {
            string ports = $"/sys/class/infiniband/{device}/ports";
            // The file contains a text such as "4: ACTIVE".
            (string Port, string State)[] states = [.. machine.List(ports).Select(p => (p, (machine.Read($"{ports}/{p}/state") ?? "unknown").Split(": ")[^1]))];
            string text = string.Join(", ", states.Select(s => $"port {s.Port} {s.State}{(machine.Read($"{ports}/{s.Port}/rate") is { } rate ? $" at {rate}" : "")}"));
            var facts = new JsonObject { ["device"] = device };
            foreach ((string port, string state) in states)
                facts["port" + port] = state;
            yield return Array.Exists(states, static s => s.State == "ACTIVE") ? Ok($"{device}: {text}", facts)
                // A second card without a cable is not a fault. The check provider reports if nothing can be opened.
                : Warn($"{device} has no active port: {(text.Length == 0 ? "it has no ports" : text)}",
                    Array.Exists(states, static s => s.State == "INIT") ? "Start a subnet manager (opensm) in the fabric: a port in state INIT waits for one" : "Plug the cable in, and bring the interface up (`ip link set dev NAME up` as root for RoCE)", facts);
        }
    }
}
