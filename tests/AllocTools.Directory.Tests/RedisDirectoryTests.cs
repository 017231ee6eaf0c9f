using System.Text;
using AllocTools.Connections.Directories;
using AllocTools.Directory.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;

namespace AllocTools.Directory.Tests;

/// <summary>Tests the directory on a real redis-server.</summary>
public sealed class RedisDirectoryTests : DirectoryConformance
{
    private readonly RedisBed _bed = new();

    private protected override DirectoryBed Bed => _bed;

    [Fact]
    public async Task AnAnnouncementThatIsLostIsNotLostForEver()
    {
        DirectoryProcess other = await Bed.StartProcessAsync();
        await using var watch = new Watched(other.Directory, "a");
        await watch.IsAsync();
        // This looks as if it had been published, but nothing is announced.
        DirectoryProcess publisher = await Bed.StartProcessAsync();
        await _bed.KeepAsync("a", publisher.Number, new DirectoryRecord(publisher.Entry("a", 7), 1).Encode());
        await watch.IsAsync(7);
    }

    [Fact]
    public async Task NothingIsLeftOnceTheLastLeaseIsOver()
    {
        DirectoryProcess dead = await Bed.StartProcessAsync(isAlive: false);
        await dead.PublishAsync("a");
        await using ConnectionMultiplexer connection = await ConnectionMultiplexer.ConnectAsync(_bed.Configuration);
        IDatabase redis = connection.GetDatabase();
        Assert.True(await redis.KeyExistsAsync("tests:{a}"));
        await dead.ResolvesToAsync("a");
        // Redis itself has forgotten the entry, possibly a moment later.
        using var limit = new CancellationTokenSource(Testing.TestTime.Seconds(20));
        while (await redis.KeyExistsAsync("tests:{a}"))
            await Task.Delay(20, limit.Token);
    }

    [Fact]
    public async Task ValuesOfOthersAreLeftOutAndTooManyAreRefused()
    {
        DirectoryProcess publisher = await Bed.StartProcessAsync(static o => (o.MaxEntriesPerName, o.MaxEntryBytes) = (4, 1024));
        await publisher.PublishAsync("a", 1);
        await _bed.WriteAsync("a", Guid.NewGuid(), Encoding.UTF8.GetBytes("nothing of this kind"));
        await _bed.KeepAsync("a", Guid.NewGuid(), new byte[100_000]);
        await publisher.HasAsync("a", 1);
        await publisher.HasAsync("a", 1);
        Assert.StartsWith("2 of the entries", await publisher.Log.SingleAsync(125), StringComparison.Ordinal);
        for (int i = 0; i < 4; i++)
            await _bed.WriteAsync("b", Guid.NewGuid(), Encoding.UTF8.GetBytes("9999999999999 1 {}"));
        var error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await publisher.PublishAsync("b"));
        Assert.Contains("MaxEntriesPerName (4)", error.Message, StringComparison.Ordinal);
        await _bed.WriteAsync("b", Guid.NewGuid(), Encoding.UTF8.GetBytes("9999999999999 1 {}"));
        error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await publisher.Directory.ResolveAsync("b", Token));
        Assert.Contains("5 entries", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AConnectionThatCouldNotBeMadeIsMadeLater()
    {
        bool isUp = false;
        DirectoryProcess process = await Bed.StartProcessAsync(services: services =>
        {
            services.AddSingleton<IConnectionMultiplexer>(_ => Volatile.Read(ref isUp) ? ConnectionMultiplexer.Connect(_bed.Configuration) : throw new NotSupportedException("not up yet"));
            services.PostConfigure<Connections.Redis.RmaRedisDirectoryOptions>(static o => o.Configuration = null);
        });
        var error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.PublishAsync("a", 1));
        Assert.Contains("NotSupportedException", error.Message, StringComparison.Ordinal);
        Volatile.Write(ref isUp, true);
        await process.PublishAsync("a", 2);
        await process.HasAsync("a", 2);
    }

    [Fact]
    public async Task ASubscriptionThatHadNoAnswerInTimeIsTakenBack()
    {
        await using ConnectionMultiplexer connection = await ConnectionMultiplexer.ConnectAsync(_bed.Configuration + ",allowAdmin=true");
        DirectoryProcess process = await Bed.StartProcessAsync(
            static o => o.RequestTimeout = TimeSpan.FromMilliseconds(100),
            services: services =>
            {
                services.AddSingleton<IConnectionMultiplexer>(connection);
                services.PostConfigure<Connections.Redis.RmaRedisDirectoryOptions>(static o => o.Configuration = null);
            });
        await connection.GetSubscriber().PingAsync();
        IDirectoryWatch watch = await process.Host.Services.GetRequiredService<IDirectoryStore>().WatchAsync("a", Token);
        // For a second, the server accepts nothing from anybody.
        await connection.GetDatabase().ExecuteAsync("CLIENT", "PAUSE", "1000");
        await watch.WaitAsync(DirectoryAnswer.None, TimeSpan.FromMilliseconds(1), Token);
        await watch.DisposeAsync();
        // The ping arrives after everything that was sent before on that connection.
        await connection.GetSubscriber().PingAsync();
        using var limit = new CancellationTokenSource(Testing.TestTime.Seconds(20));
        while ((int)((RedisResult[])(await connection.GetDatabase().ExecuteAsync("PUBSUB", "NUMSUB", "tests:{a}"))!)[1] != 0)
            await Task.Delay(20, limit.Token);
    }

    [Fact]
    public async Task ANewerEntryOfTheSameProcessIsAClearError()
    {
        DirectoryProcess process = await Bed.StartProcessAsync();
        await process.PublishAsync("a", 1);
        await _bed.WriteAsync("a", process.Number, Encoding.UTF8.GetBytes($"9999999999999 {long.MaxValue:D19} {{}}"));
        Assert.Contains("newer entry", await process.Log.SingleAsync(120), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AKeyOfAnotherKindIsAClearError()
    {
        DirectoryProcess process = await Bed.StartProcessAsync();
        await using (ConnectionMultiplexer connection = await ConnectionMultiplexer.ConnectAsync(_bed.Configuration))
            await connection.GetDatabase().StringSetAsync("tests:{a}", "text");
        var error = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await process.Directory.ResolveAsync("a", Token));
        Assert.Contains("Redis refused the request", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheApplicationsOwnConnectionIsUsedAndStaysOpen()
    {
        await using ConnectionMultiplexer connection = await ConnectionMultiplexer.ConnectAsync(_bed.Configuration);
        DirectoryProcess process = await Bed.StartProcessAsync(services: services =>
        {
            services.AddSingleton<IConnectionMultiplexer>(connection);
            services.PostConfigure<Connections.Redis.RmaRedisDirectoryOptions>(static o => (o.Configuration, o.KeyPrefix) = (null, "own"));
        });
        await process.PublishAsync("a");
        Assert.True(await connection.GetDatabase().KeyExistsAsync("own:{a}"));
        await process.Host.StopAsync(Token);
        Assert.True(connection.IsConnected);
        Assert.False(await connection.GetDatabase().KeyExistsAsync("own:{a}"));
    }
}
