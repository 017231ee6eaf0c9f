using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>A host that keeps a directory, one whose process publishes memory there, and one whose process looks it up.</summary>
internal sealed class DirectoryBed : IAsyncDisposable
{
    /// <summary>How long an entry exists without being renewed.</summary>
    public static readonly TimeSpan Lease = TestTime.Seconds(6);

    private readonly string _fabric;

    private DirectoryBed(HostNetwork network, string fabric, string[] keeperPrefix, string[] ownerPrefix)
    {
        (Network, _fabric) = (network, fabric);
        Keeper = StartKeeper(keeperPrefix);
        Owner = StartSide(1, ownerPrefix);
        Client = StartSide(2, []);
    }

    public HostNetwork Network { get; }

    public PeerProcess Keeper { get; set; }

    public PeerProcess Owner { get; set; }

    public PeerProcess Client { get; }

    /// <summary>Gets the command that makes the owner listen and publish.</summary>
    public string Publish => $"publish blocks {Network[1].Address} 5005";

    private static string LeaseInSeconds => Lease.TotalSeconds.ToString(CultureInfo.InvariantCulture);

    public static async Task<DirectoryBed> StartAsync(string fabric, string[]? keeperPrefix = null, string[]? ownerPrefix = null)
    {
        var bed = new DirectoryBed(await HostNetwork.StartAsync(), fabric, keeperPrefix ?? [], ownerPrefix ?? []);
        foreach (PeerProcess process in (PeerProcess[])[bed.Keeper, bed.Owner, bed.Client])
            Assert.Equal("ready", await process.AnswerAsync());
        return bed;
    }

    public PeerProcess StartKeeper(string[] prefix) => new([.. Network[0].Inside, .. prefix], ["directory-keeper", Network[0].Address, LeaseInSeconds]);

    public PeerProcess StartSide(int host, string[] prefix) =>
        new([.. Network[host].Inside, .. prefix], ["directory", _fabric.Replace("NODE", Network[host].Address, StringComparison.Ordinal), Network[0].Address, LeaseInSeconds]);

    /// <summary>Waits until the answer to the client's question begins with a text.</summary>
    public async Task BecomesAsync(string start)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        string last;
        while ((last = await Client.AskAsync("resolve blocks")) != start && !(start.EndsWith(' ') && last.StartsWith(start, StringComparison.Ordinal)))
        {
            Assert.False(limit.IsCancellationRequested, $"The last answer is '{last}', not '{start}'.");
            await Task.Delay(50, CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (PeerProcess process in (PeerProcess[])[Client, Owner, Keeper])
            await process.DisposeAsync();
        await Network.DisposeAsync();
    }
}
