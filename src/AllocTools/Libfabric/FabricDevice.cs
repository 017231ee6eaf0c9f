using System.Globalization;
using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The device behind a fabric interface, in sysfs (Linux).</summary>
internal static unsafe class FabricDevice
{
    public const string SystemRoot = "/sys";

    /// <summary>Returns the device's NUMA node, or null if sysfs has no device or no node for it.</summary>
    /// <param name="info">The interface.</param>
    /// <param name="root">The directory where sysfs is mounted.</param>
    public static int? NumaNodeOf(fi_info* info, string root = SystemRoot)
    {
        // Providers of network cards report the bus address; tcp's domain is named after its network interface.
        if (info->nic is not null && info->nic->bus_attr is not null && info->nic->bus_attr->bus_type == fi_bus_type.FI_BUS_PCI)
            return Read(root, "bus/pci/devices", AddressOf(info->nic->bus_attr->attr));
        string name = Marshal.PtrToStringUTF8((nint)info->domain_attr->name) ?? "";
        if (name.Length == 0 || name.Contains('/', StringComparison.Ordinal) || name.Trim('.').Length == 0)
            return null;
        return Read(root, "class/infiniband", name, "device") ?? Read(root, "class/net", name, "device");
    }

    /// <summary>Formats a PCI address as sysfs does: domain:bus:device.function.</summary>
    private static string AddressOf(fi_pci_attr address) =>
        string.Create(CultureInfo.InvariantCulture, $"{address.domain_id:x4}:{address.bus_id:x2}:{address.device_id:x2}.{address.function_id}");

    private static int? Read(params string[] device)
    {
        string file = Path.Combine([.. device, "numa_node"]);
        // -1 means that the firmware did not report it.
        return File.Exists(file) && int.TryParse(File.ReadAllText(file), CultureInfo.InvariantCulture, out int node) && node >= 0 ? node : null;
    }
}
