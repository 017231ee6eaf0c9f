using AllocTools.Connections.Directories;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;

namespace AllocTools.Directory.Tests.Support;

/// <summary>A directory on a redis-server.</summary>
internal sealed class RedisBed : DirectoryBed
{
    private readonly RedisServer _server = new();

    public string Configuration => _server.Configuration;

    protected override Dictionary<string, string?> Settings => new()
    {
        ["AllocTools:Directory:Redis:Configuration"] = _server.Configuration,
        ["AllocTools:Directory:Redis:KeyPrefix"] = "tests",
    };

    public override Task StartKeeperAsync() => _server.StartAsync();

    public override Task StopKeeperAsync() => _server.StopAsync();

    public override async Task KeepAsync(string name, Guid process, byte[] value)
    {
        long end = DateTimeOffset.UtcNow.AddMinutes(1).ToUnixTimeMilliseconds();
        await WriteAsync(name, process, [.. System.Text.Encoding.ASCII.GetBytes($"{end} {1:D19} "), .. value]);
    }

    /// <summary>Writes to Redis without this library, and without an announcement.</summary>
    public async Task WriteAsync(string name, Guid process, byte[] value)
    {
        await using ConnectionMultiplexer connection = await ConnectionMultiplexer.ConnectAsync(_server.Configuration);
        await connection.GetDatabase().HashSetAsync($"tests:{{{name}}}", process.ToString("N"), value);
    }

    protected override void Add(IRmaDirectoryBuilder directory) => directory.UseRedis();

    protected override ValueTask EndAsync() => _server.DisposeAsync();
}
