using AllocTools.Connections.Directories;
using AllocTools.Directory.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;

namespace AllocTools.Directory.Tests;

/// <summary>
/// Tests wall clocks that are set, of the peers that keep a directory and of publishers. Time itself is unaffected.
/// </summary>
public sealed class WallClockTests : IAsyncDisposable
{
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(1);
    private readonly Clock _keepers = new();
    private readonly Clock _publishers = new();
    private readonly HttpBed _bed;

    public WallClockTests() => _bed = new HttpBed { Time = _keepers };

    public static TheoryData<int, int> Jumps => new() { { -2, 0 }, { -400, 0 }, { 400, 0 }, { 0, 400 }, { 0, -400 }, { -400, 400 }, { 400, -400 } };

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Theory, MemberData(nameof(Jumps))]
    public async Task EntriesAreRenewedReplacedAndTakenOutHoweverClocksAreSet(int keepersDays, int publishersDays)
    {
        DirectoryProcess publisher = await StartAsync();
        await publisher.PublishAsync("a", 1);
        RmaPublication second = await publisher.PublishAsync("b", 2);
        SetClocks(keepersDays, publishersDays);
        await StaysAsync(publisher, ("a", 1), ("b", 2));
        await second.DisposeAsync();
        await publisher.HasAsync("b");
        await publisher.PublishAsync("a", 3);
        await publisher.HasAsync("a", 3);
        // The clocks are set back.
        SetClocks(-keepersDays, -publishersDays);
        await StaysAsync(publisher, ("a", 3));
        await publisher.PublishAsync("a", 4);
        await publisher.HasAsync("a", 4);
    }

    [Theory, MemberData(nameof(Jumps))]
    public async Task ADirectoryThatStartsAnewWithAnotherClockHasEverythingAgain(int keepersDays, int publishersDays)
    {
        DirectoryProcess publisher = await StartAsync();
        await publisher.PublishAsync("a", 1);
        DirectoryRecord record = await RecordAsync(publisher, "a");
        SetClocks(keepersDays, publishersDays);
        await _bed.StopKeeperAsync();
        await _bed.StartKeeperAsync();
        await publisher.HasAsync("a");
        await StoreOf(publisher).PutAsync(record, Lease, Token);
        await publisher.HasAsync("a", 1);
    }

    [Theory, MemberData(nameof(Jumps))]
    public async Task WhatADeadProcessHasPublishedGoesWithItsLeaseHoweverClocksAreSet(int keepersDays, int publishersDays)
    {
        DirectoryProcess dead = await StartAsync();
        await dead.PublishAsync("a", 1);
        SetClocks(keepersDays, publishersDays);
        _keepers.Advance(Lease * 0.99);
        await dead.HasAsync("a", 1);
        _keepers.Advance(Lease * 0.02);
        await dead.HasAsync("a");
    }

    private static IDirectoryStore StoreOf(DirectoryProcess process) => process.Host.Services.GetRequiredService<IDirectoryStore>();

    /// <summary>Returns the record that both peers have.</summary>
    private static async Task<DirectoryRecord> RecordAsync(DirectoryProcess process, string name)
    {
        IReadOnlyList<DirectoryRecord> records = (await StoreOf(process).ReadAsync(name, Token)).Records;
        Assert.Equal(2, records.Count);
        Assert.Equal(records[0].Revision, records[1].Revision);
        return records[0];
    }

    /// <summary>Starts a process that renews only when the test does.</summary>
    private async Task<DirectoryProcess> StartAsync()
    {
        await _bed.StartKeeperAsync();
        return await _bed.StartProcessAsync(static o => (o.Lease, o.RequestTimeout) = (Lease, Lease / 3), isAlive: false, services => services.AddSingleton<TimeProvider>(_publishers));
    }

    private void SetClocks(int keepersDays, int publishersDays)
    {
        _keepers.Ahead += TimeSpan.FromDays(keepersDays);
        _publishers.Ahead += TimeSpan.FromDays(publishersDays);
    }

    /// <summary>Asserts that renewed entries exist at all times, for longer than their leases.</summary>
    private async Task StaysAsync(DirectoryProcess publisher, params (string Name, int Port)[] entries)
    {
        DirectoryRecord[] records = await Task.WhenAll(entries.Select(e => RecordAsync(publisher, e.Name)));
        for (int renewal = 0; renewal < 4; renewal++)
        {
            foreach (DirectoryRecord record in records)
                await StoreOf(publisher).PutAsync(record, Lease, Token);
            _keepers.Advance(Lease / 3);
            foreach ((string name, int port) in entries)
                await publisher.HasAsync(name, port);
        }
    }

    /// <summary>
    /// Simulated time, with a wall clock that can be set separately: FakeTimeProvider derives its timestamps from its
    /// wall clock.
    /// </summary>
    private sealed class Clock : TimeProvider
    {
        private readonly FakeTimeProvider _time = new(DateTimeOffset.UtcNow);

        public TimeSpan Ahead { get; set; }

        public override long TimestampFrequency => _time.TimestampFrequency;

        public void Advance(TimeSpan time) => _time.Advance(time);

        public override DateTimeOffset GetUtcNow() => _time.GetUtcNow() + Ahead;

        public override long GetTimestamp() => _time.GetTimestamp();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => _time.CreateTimer(callback, state, dueTime, period);
    }
}
