using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests pools and endpoints of three hosts.</summary>
public sealed class EndpointTests
{
    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    [Theory, MemberData(nameof(Fabrics))]
    public async Task EachHostWritesToAndReadsFromEachOther(string fabric)
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartBusyAsync(network, fabric);
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
            {
                Assert.Equal("halted", await service.AskAsync($"halt {other.Number}"));
                Assert.Equal("whole", await other.AskAsync($"place {service.Number}"));
                Assert.InRange(int.Parse(await other.AskAsync($"notified {service.Number}")), 5, int.MaxValue);
            }
        }
        await services.CloseAsync();
    }
}
