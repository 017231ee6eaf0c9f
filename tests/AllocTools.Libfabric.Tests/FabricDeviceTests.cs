using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests the NUMA node of a fabric's device, in a sysfs that the test creates.</summary>
public sealed unsafe class FabricDeviceTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("sysfs-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void TheBusAddressOfTheCardDecides()
    {
        Put("bus/pci/devices/0001:af:00.1", "1\n");
        Put("class/net/mlx5_0/device", "0\n");
        Assert.Equal(1, NodeOf("mlx5_0", new fi_pci_attr { domain_id = 1, bus_id = 0xaf, device_id = 0, function_id = 1 }));
    }

    [Theory]
    [InlineData("class/infiniband/mlx5_0/device", "mlx5_0", "3\n", 3)]
    [InlineData("class/net/eth0/device", "eth0", "0\n", 0)]
    [InlineData("class/net/eth0/device", "eth0", "-1\n", null)]
    [InlineData("class/net/eth0/device", "lo", "0\n", null)]
    [InlineData("class/net/eth0/device", "../net/eth0", "0\n", null)]
    public void ElseTheNameOfTheDomain(string device, string domain, string content, int? node)
    {
        Put(device, content);
        Assert.Equal(node, NodeOf(domain, null));
    }

    private void Put(string device, string content)
    {
        string folder = Directory.CreateDirectory(Path.Combine(_root, device)).FullName;
        File.WriteAllText(Path.Combine(folder, "numa_node"), content);
    }

    private int? NodeOf(string domainName, fi_pci_attr? address)
    {
        nint name = Marshal.StringToCoTaskMemUTF8(domainName);
        fi_domain_attr domain = new() { name = (byte*)name };
        fi_bus_attr bus = new() { bus_type = fi_bus_type.FI_BUS_PCI, attr = address ?? default };
        fid_nic nic = new() { bus_attr = &bus };
        fi_info info = new() { domain_attr = &domain, nic = address is null ? null : &nic };
        int? node = FabricDevice.NumaNodeOf(&info, _root);
        Marshal.FreeCoTaskMem(name);
        return node;
    }
}
