using System.Text.Json.Nodes;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks the device nodes of RDMA: /dev/infiniband, /dev/cxi*.</summary>
internal sealed class DevicesCheck() : Check("devices")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        string[] devices = machine.List("/sys/class/infiniband");
        string[] nodes = [.. machine.List("/dev/infiniband").Where(static n => n.StartsWith("uverbs", StringComparison.Ordinal)).Select(static n => "/dev/infiniband/" + n)];
        string[] cxi = [.. machine.CxiDevices.Select(static n => "/dev/" + n)];
        bool isAllEfa = devices.Length > 0 && Array.TrueForAll(devices, d => LibfabricCheck.IsEfa(machine, d));
        var facts = new JsonObject { ["devices"] = ToJson(devices), ["nodes"] = ToJson([.. nodes, .. cxi]) };
        if (devices.Length + nodes.Length + cxi.Length == 0)
        {
            yield return Absent("There is no RDMA device", facts);
            yield break;
        }
        bool hasFailed = false;
        if (devices.Length > 0 && nodes.Length == 0)
        {
            hasFailed = true;
            yield return Fail($"The kernel has {string.Join(", ", devices)}, but /dev/infiniband has no uverbs node for it", examination.Surroundings.Container switch
            {
                null => "Load the module: `modprobe ib_uverbs` as root",
                "kubernetes" => "Ask for the device in the pod's resources, by the cluster's RDMA device plug-in",
                _ => "Give the container the devices: `--device=/dev/infiniband` for docker run and podman run",
            }, facts);
        }
        if (nodes.Length > 0 && !isAllEfa && !machine.Exists("/dev/infiniband/rdma_cm"))
        {
            hasFailed = true;
            const string Missing = "/dev/infiniband/rdma_cm is not there; verbs;ofi_rxm connects by it";
            yield return (examination.NamesFabric("verbs", "verbs;ofi_rxm") ? Fail : (Func<string, string, JsonObject?, Finding>)Warn)(Missing,
                examination.Surroundings.Container is null ? "Load the module: `modprobe rdma_ucm` as root" : "Give the container all of /dev/infiniband, and load the module rdma_ucm on its host", facts);
        }
        foreach (string node in (string[])[.. nodes, .. cxi])
        {
            if (machine.WhyNotOpened(node) is not { } reason)
                continue;
            hasFailed = true;
            yield return Fail($"{node} can't be opened: {reason}", "Let this user read and write it: mode 0666 or a group of this user (udev), and the device cgroup of a container", facts);
        }
        if (!hasFailed)
            yield return Ok($"{string.Join(", ", devices.Length > 0 ? devices : cxi)} can be opened", facts);
    }
}
