using System.Net;
using System.Text;
using System.Threading.Channels;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Directory.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Testing;

namespace AllocTools.Directory.Tests;

/// <summary>Tests what every directory must do.</summary>
public abstract class DirectoryConformance : IAsyncLifetime
{
    private protected abstract DirectoryBed Bed { get; }

    protected static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await Bed.StartKeeperAsync();

    public async ValueTask DisposeAsync()
    {
        await Bed.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task WhatIsPublishedIsFoundAsItIs()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        EndPoint[] endPoints = [new IPEndPoint(IPAddress.Parse("192.0.2.7"), 5001), new IPEndPoint(IPAddress.Parse("2001:db8::7"), 65_535), new DnsEndPoint("server.example", 1)];
        var memory = new Dictionary<string, RemoteMemory>
        {
            ["blocks"] = new(0x1234_5678_9abc_def0, 1 << 20, 42, RmaAccess.RemoteWrite),
            ["raw.key_1-2"] = new(0, 100, new byte[] { 1, 2, 3 }, 77, RmaAccess.RemoteRead),
        };
        for (int i = 0; i < endPoints.Length; i++)
        {
            var entry = new RmaDirectoryEntry("Orders.v1_a-b", publisher.Number, endPoints[i], memory);
            RmaPublication publication = await publisher.Directory.PublishAsync(entry, Token);
            Assert.Same(entry, publication.Entry);
            RmaDirectoryEntry found = Assert.Single(await other.Directory.ResolveAsync("Orders.v1_a-b", Token));
            Assert.Equal((entry.Name, entry.Process, entry.EndPoint), (found.Name, found.Process, found.EndPoint));
            Assert.Equal(memory.OrderBy(static m => m.Key), found.Exposures.OrderBy(static m => m.Key));
            Assert.Equal("Orders.v1_a-b, 2 exposures", found.ToString());
        }
        Assert.Empty(await other.Directory.ResolveAsync("orders.v1_a-b", Token));
    }

    [Fact]
    public async Task PublishingAgainReplacesAndOnlyTheLastPublicationTakesItOut()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        RmaPublication first = await publisher.PublishAsync("a", 1);
        RmaPublication second = await publisher.PublishAsync("a", 2);
        await other.HasAsync("a", 2);
        await first.DisposeAsync();
        await other.HasAsync("a", 2);
        // Another process has its own entry.
        await using RmaPublication third = await other.PublishAsync("a", 3);
        await other.HasAsync("a", 3, 2);
        await second.DisposeAsync();
        await second.DisposeAsync();
        await publisher.HasAsync("a", 3);
        // A removed entry may be published again.
        await using RmaPublication fourth = await publisher.PublishAsync("a", 4);
        await other.HasAsync("a", 4, 3);
    }

    [Fact]
    public async Task RenewalsKeepAnEntryAndWhatADeadProcessPublishedVanishesWithItsLease()
    {
        DirectoryProcess alive = await Bed.StartProcessAsync();
        DirectoryProcess dead = await Bed.StartProcessAsync(isAlive: false);
        DirectoryProcess other = await Bed.StartProcessAsync();
        await dead.PublishAsync("a", 2);
        await alive.PublishAsync("a", 1);
        await other.HasAsync("a", 1, 2);
        await other.ResolvesToAsync("a", 1);
        // After two further leases, everything that exists was renewed.
        await Task.Delay(TestTime.Seconds(6), Token);
        await other.ResolvesToAsync("a", 1);
    }

    [Fact]
    public async Task TheEndOfAHostTakesItsEntriesOutAtOnce()
    {
        DirectoryProcess ending = await Bed.StartProcessAsync(static o => o.Lease = TimeSpan.FromMinutes(30));
        DirectoryProcess other = await Bed.StartProcessAsync();
        await ending.PublishAsync("a");
        await ending.PublishAsync("b");
        await other.HasAsync("b", 5001);
        await ending.Host.StopAsync(Token);
        Assert.Empty(await other.PortsAsync("a"));
        Assert.Empty(await other.PortsAsync("b"));
    }

    [Fact]
    public async Task AWatchGivesWhatIsThereAndThenEachChange()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess dead = await Bed.StartProcessAsync(isAlive: false);
        DirectoryProcess other = await Bed.StartProcessAsync();
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync();
        RmaPublication first = await publisher.PublishAsync("a", 1);
        await watch.IsAsync(1);
        await publisher.PublishAsync("b", 7);
        await publisher.PublishAsync("a", 2);
        await watch.IsAsync(2);
        await first.DisposeAsync();
        await dead.PublishAsync("a", 3);
        await watch.IsAsync(3, 2);
        // The lease has ended, which nobody announces.
        await watch.IsAsync(2);
        await publisher.Host.StopAsync(Token);
        await watch.IsAsync();
    }

    [Fact]
    public async Task ChangesAreSeenBeforeTheNextReread()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync(static o => o.WatchInterval = TimeSpan.FromMinutes(30));
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync();
        for (int i = 1; i <= 20; i++)
        {
            await publisher.PublishAsync("a", i);
            await watch.IsAsync(i);
        }
    }

    [Fact]
    public async Task ManyPublishAndReplaceAtOnce()
    {
        DirectoryProcess other = await Bed.StartProcessAsync();
        DirectoryProcess[] all = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Bed.StartProcessAsync()));
        await Task.WhenAll(all.SelectMany((p, i) => Enumerable.Range(0, 10).Select(async j =>
        {
            RmaPublication publication = await p.PublishAsync("a", 100 * i + j + 1);
            // Half of them are removed again, while others replace them.
            if (j % 2 == 1)
                await publication.DisposeAsync();
        })));
        foreach (DirectoryProcess p in all)
            await p.PublishAsync("a", 1000);
        IReadOnlyList<RmaDirectoryEntry> found = await other.Directory.ResolveAsync("a", Token);
        Assert.Equal(all.Select(static p => p.Number).Order(), found.Select(static e => e.Process).Order());
        Assert.All(found, static e => Assert.Equal(1000, ((DnsEndPoint)e.EndPoint).Port));
        // The order is that of publication, the newest first.
        Assert.Equal(all.Reverse().Select(static p => p.Number), found.Select(static e => e.Process));
    }

    [Fact]
    public async Task ADirectoryThatStartsAnewHasAllAgainAfterTheNextRenewals()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync(1);
        await Bed.StopKeeperAsync();
        await Assert.ThrowsAsync<RmaDirectoryException>(async () => await other.Directory.ResolveAsync("a", Token));
        var refused = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await other.PublishAsync("b", 2));
        Assert.False(string.IsNullOrEmpty(refused.Message));
        Assert.Contains("could not be renewed", await publisher.Log.SingleAsync(120), StringComparison.Ordinal);
        await other.Log.SingleAsync(123);
        await Bed.StartKeeperAsync();
        await other.ResolvesToAsync("a", 1);
        await publisher.Log.SingleAsync(121);
        await other.Log.SingleAsync(124);
        // A publication that failed is not retried later on its own.
        Assert.Empty(await publisher.PortsAsync("b"));
        await other.PublishAsync("b", 3);
        await publisher.HasAsync("b", 3);
        await publisher.PublishAsync("a", 4);
        await watch.BecomesAsync(4);
    }

    [Fact]
    public async Task AWatchMayBeginBeforeTheDirectoryDoes()
    {
        await Bed.StopKeeperAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        await using var watch = new Watched(other.Directory, "a");
        await other.Log.SingleAsync(123);
        await Bed.StartKeeperAsync();
        await watch.IsAsync();
        await other.PublishAsync("a", 1);
        await watch.IsAsync(1);
    }

    [Fact]
    public async Task ReplacingFailsWhereTheDirectoryCantBeReachedAndTheEntryBeforeStays()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        await Bed.StopKeeperAsync();
        await Assert.ThrowsAsync<RmaDirectoryException>(async () => await publisher.PublishAsync("a", 2));
        await Bed.StartKeeperAsync();
        await publisher.ResolvesToAsync("a", 1);
    }

    [Fact]
    public async Task AHostEndsThoughItsDirectoryCantBeReached()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        await Bed.StopKeeperAsync();
        await publisher.Host.StopAsync(Token).WaitAsync(TestTime.Seconds(20), Token);
        await publisher.Log.SingleAsync(122);
    }

    [Fact]
    public async Task EntriesAreBounded()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync(static o => (o.MaxEntryBytes, o.MaxEntriesPerName) = (1024, 256));
        var memory = new RemoteMemory(0, 1, new byte[1000], 0, RmaAccess.RemoteRead);
        var error = await Assert.ThrowsAsync<ArgumentException>(async () =>
            await publisher.Directory.PublishAsync(publisher.Entry("a", exposures: new Dictionary<string, RemoteMemory> { ["m"] = memory }), Token));
        Assert.Contains("MaxEntryBytes", error.Message, StringComparison.Ordinal);
        Assert.Empty(await publisher.PortsAsync("a"));
        foreach (string name in new[] { "", ".", "..", "a/b", "a b", "ä", "{a}", new('a', 129) })
        {
            Assert.Equal("name", (await Assert.ThrowsAsync<ArgumentException>(async () => await publisher.Directory.ResolveAsync(name, Token))).ParamName);
            Assert.Equal("name", Assert.Throws<ArgumentException>(() => publisher.Directory.WatchAsync(name, Token)).ParamName);
        }
    }

    [Fact]
    public async Task WhatIsNotValidIsLeftOutAndLogged()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        DirectoryProcess other = await Bed.StartProcessAsync();
        await Bed.KeepAsync("a", Guid.NewGuid(), Encoding.UTF8.GetBytes("""{"version":2}"""));
        await other.HasAsync("a", 1);
        await other.HasAsync("a", 1);
        string text = await other.Log.SingleAsync(125);
        Assert.Contains("version 2", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"name\":\"\\ud800\"")]
    [InlineData("\"host\":\"\\udc00x\"")]
    [InlineData("\"\\ud800\":1")]
    [InlineData("\"exposures\":{\"\\ud800\":\"AAAA\"}")]
    [InlineData("\"exposures\":{\"m\":\"\\ud800\"}")]
    public async Task TextThatIsNoUnicodeIsLeftOut(string property)
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        await publisher.PublishAsync("a", 1);
        DirectoryProcess other = await Bed.StartProcessAsync();
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync(1);
        await Bed.KeepAsync("a", Guid.NewGuid(), Encoding.UTF8.GetBytes($$"""{"version":1,{{property}}}"""));
        await Bed.KeepAsync("b", Guid.NewGuid(), [.. "{\"version\":1,\"name\":\""u8, 0xFF, .. "\"}"u8]);
        foreach (string name in (string[])["a", "b"])
        {
            try
            {
                await other.Directory.ResolveAsync(name, Token);
                Assert.Contains(other.Log.All, static l => l.Id == 125);
            }
            catch (RmaDirectoryException e)
            {
                // The peer's whole answer can't be read; no peer of this library answers like this.
                Assert.Contains("not valid", e.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task RequestsCanBeCancelled()
    {
        DirectoryProcess process = await Bed.StartProcessAsync();
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await process.Directory.ResolveAsync("a", cancelled.Token));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await process.Directory.PublishAsync(process.Entry("a"), cancelled.Token));
        Assert.Empty(await process.PortsAsync("a"));
        await using var watch = new Watched(process.Directory, "a");
        await watch.IsAsync();
    }

    [Fact]
    public async Task ManyWatchesOfOneNameSeeTheSame()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        DirectoryProcess other = await Bed.StartProcessAsync();
        Watched[] all = [.. Enumerable.Range(0, 10).Select(_ => new Watched(other.Directory, "a"))];
        await Task.WhenAll(all.Select(static w => w.IsAsync()));
        await publisher.PublishAsync("a", 1);
        await Task.WhenAll(all.Select(static w => w.IsAsync(1)));
        await Task.WhenAll(all.Skip(1).Select(static w => w.DisposeAsync().AsTask()));
        await publisher.PublishAsync("a", 2);
        await all[0].IsAsync(2);
        await all[0].DisposeAsync();
    }

    /// <summary>A watch, and the ports that it has reported.</summary>
    private protected sealed class Watched : IAsyncDisposable
    {
        private readonly CancellationTokenSource _end = CancellationTokenSource.CreateLinkedTokenSource(Token);
        private readonly Channel<int[]> _given = Channel.CreateUnbounded<int[]>();
        private readonly Task _watching;

        public Watched(IRmaDirectory directory, string name) => _watching = Task.Run(async () =>
        {
            try
            {
                await foreach (IReadOnlyList<RmaDirectoryEntry> entries in directory.WatchAsync(name, _end.Token))
                    _given.Writer.TryWrite([.. entries.Select(static e => ((DnsEndPoint)e.EndPoint).Port)]);
            }
            catch (OperationCanceledException) when (_end.IsCancellationRequested)
            {
                // As intended.
            }
            finally
            {
                _given.Writer.TryComplete();
            }
        });

        /// <summary>Asserts the next result of the watch.</summary>
        public async Task IsAsync(params int[] ports)
        {
            int[] given = await _given.Reader.ReadAsync(Token).AsTask().WaitAsync(TestTime.Seconds(30), Token);
            Assert.Equal(ports, given);
        }

        /// <summary>Waits until one of the next results is as expected.</summary>
        public async Task BecomesAsync(params int[] ports)
        {
            int[] given;
            do
                given = await _given.Reader.ReadAsync(Token).AsTask().WaitAsync(TestTime.Seconds(30), Token);
            while (!given.AsSpan().SequenceEqual(ports));
        }

        public async ValueTask DisposeAsync()
        {
            await _end.CancelAsync();
            await _watching.WaitAsync(TestTime.Seconds(20), CancellationToken.None);
            _end.Dispose();
        }
    }
}
