using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>A service with an endpoint on a host, which moves bytes to and from others in the background.</summary>
internal sealed class Service : IAsyncDisposable
{
    /// <summary>The time after which an operation times out.</summary>
    public static readonly TimeSpan OperationTimeout = TestTime.Seconds(4);

    /// <summary>The fabric of libfabric's TCP at the address of a host.</summary>
    public const string Libfabric = "tcp;ofi_rxm@NODE";

    /// <summary>The fabric of UCX's TCP on the card of a host.</summary>
    public const string Ucx = "ucx:tcp@eth0";

    /// <summary>The answer of a service that has nothing left.</summary>
    public const string NothingLeft = "0 rented, 0 quarantined";

    private readonly PeerProcess _process;

    /// <param name="host">The host that it runs on.</param>
    /// <param name="fabric">The fabric that it opens there.</param>
    /// <param name="number">Its number among the services; it writes to the place with this number.</param>
    /// <param name="more">Further arguments of the test peer.</param>
    public Service(NetworkHost host, string fabric, int number, params string[] more)
        : this(host, fabric, number, [], more)
    {
    }

    /// <summary>Starts it with a command prefix such as that of a <see cref="WallClock"/>.</summary>
    public Service(NetworkHost host, string fabric, int number, string[] prefix, string[] more)
    {
        (Host, Number) = (host, number);
        _process = new PeerProcess([.. host.Inside, .. prefix], ["host", fabric.Replace("NODE", host.Address, StringComparison.Ordinal), "64", OperationTimeout.TotalSeconds.ToString(CultureInfo.InvariantCulture), .. more]);
    }

    /// <summary>Gets the fabrics over which hosts reach each other.</summary>
    public static string[] Fabrics { get; } = [Libfabric, Ucx];

    public NetworkHost Host { get; }

    public int Number { get; }

    public PeerProcess Process => _process;

    public Task<string> AskAsync(string line) => _process.AskAsync(line);

    /// <summary>Begins to move bytes to and from another service, which is inserted before.</summary>
    public async Task StartTrafficAsync(Service other)
    {
        Assert.Equal("ok", await AskAsync($"meet {other.Number} {Number} {await other.AskAsync("address")}"));
        Assert.Equal("ok", await AskAsync($"start {other.Number}"));
    }

    /// <summary>Waits until it has done further rounds with another service.</summary>
    public async Task ReachesAsync(Service other, int rounds)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        int last = await RoundsAsync(other) + rounds;
        while (await RoundsAsync(other) is var now && now < last)
        {
            if (limit.IsCancellationRequested)
                Assert.Fail($"Service {Number} has done {now} rounds with service {other.Number}, not {last}: {await AskAsync($"halt {other.Number}")}");
            await Task.Delay(20, CancellationToken.None);
        }
    }

    /// <summary>Waits until its rounds with another service have made no progress for a while.</summary>
    public async Task StandsStillAsync(Service other)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        for (int last = -1; await RoundsAsync(other) is var now && now != last; last = now)
            await Task.Delay(OperationTimeout / 4, limit.Token);
    }

    public async Task<int> RoundsAsync(Service other) => int.Parse(await AskAsync($"rounds {other.Number}"), CultureInfo.InvariantCulture);

    public ValueTask DisposeAsync() => _process.DisposeAsync();
}
