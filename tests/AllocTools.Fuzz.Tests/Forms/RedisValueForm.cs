using System.Text;
using AllocTools.Connections.Directories;
using AllocTools.HostMemory;
using AllocTools.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>
/// A value that somebody else has written where the directory on Redis keeps an entry. If it begins with 0xFF, it is a
/// text in place of a hash.
/// </summary>
internal sealed class RedisValueForm : ByteForm
{
    private const string Key = "fuzz:{orders}";

    private static readonly Guid Process = new("0123456789abcdef0123456789abcdef");

    private readonly RedisServer _server = new();
    private ServiceProvider? _services;
    private IDirectoryStore? _store;
    private ConnectionMultiplexer? _connection;

    public override string Name => "redis-value";

    public override int Inputs => 1_500;

    public override int MostLength => 20 << 10;

    public override Gen<byte[]> Valid { get; } = Gen.Select(DirectoryRecordForm.Record, Gen.Long[4_000_000_000_000, 9_000_000_000_000], static (record, end) => (byte[])
        [.. Encoding.ASCII.GetBytes($"{end} {record.Revision:D19} "), .. record.Encode()]);

    public override IReadOnlyList<byte[]> Words { get; } =
    [
        .. Texts(Encoding.ASCII, " ", "0 ", "1 ", "9999999999999999999999999999 ", "99999999999999999999 ", "-1 ", "1e999 ", "nan ", "inf ", "0x7fffffffffffffff ", "%d", "\0", "\n"),
        .. DirectoryRecordForm.Pieces,
    ];

    // The Redis client has its own threads.
    public override long? MostAllocated(int length) => null;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        IDirectoryStore store = Start(out IDatabase database);
        database.KeyDelete(Key);
        if (!input.IsEmpty && input.Span[0] == 0xFF)
            database.StringSet(Key, input);
        else
            database.HashSet(Key, Process.ToString("N"), input);
        string? error;
        try
        {
            DirectoryAnswer answer = store.ReadAsync(DirectoryRecordForm.Service, CancellationToken.None).GetAwaiter().GetResult();
            Assert.InRange(answer.Records.Count + answer.Mistakes!.Count, 0, 1);
            Assert.All(answer.Records, static r => Assert.Equal(DirectoryRecordForm.Service, r.Entry.Name));
            Assert.True(answer.FirstEnd == Timeout.InfiniteTimeSpan || answer.FirstEnd <= TimeSpan.FromDays(1));
            error = answer.Mistakes.Count == 0 ? null : answer.Mistakes[0];
        }
        catch (RmaDirectoryException e) when (e.ErrorType == "refused")
        {
            return e.Message;
        }
        // The process that owns the entry overwrites it with its own, unless a newer one seems to be there.
        var own = new DirectoryRecord(new RmaDirectoryEntry(DirectoryRecordForm.Service, Process, new System.Net.DnsEndPoint("host.example", 1), new Dictionary<string, Endpoints.RemoteMemory>()), long.MaxValue);
        try
        {
            store.PutAsync(own, TimeSpan.FromMinutes(1), CancellationToken.None).GetAwaiter().GetResult();
        }
        catch (RmaDirectoryException e) when (e.ErrorType == "newer")
        {
            return error ?? e.Message;
        }
        DirectoryAnswer mended = store.ReadAsync(DirectoryRecordForm.Service, CancellationToken.None).GetAwaiter().GetResult();
        Assert.Equal(own.Encode(), Assert.Single(mended.Records).Encode());
        return error;
    }

    protected override void Close()
    {
        _connection?.Dispose();
        _services?.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _server.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    /// <summary>Starts the server with the first input.</summary>
    private IDirectoryStore Start(out IDatabase database)
    {
        if (_store is null)
        {
            if (_server.Port == 0)
                _server.StartAsync().GetAwaiter().GetResult();
            IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
            {
                ["AllocTools:Directory:Lease"] = "10min",
                ["AllocTools:Directory:RequestTimeout"] = "30s",
                ["AllocTools:Directory:Redis:Configuration"] = _server.Configuration,
                ["AllocTools:Directory:Redis:KeyPrefix"] = "fuzz",
            }).Build();
            var services = new ServiceCollection();
            services.AddLogging();
            services.AddSingleton(configuration);
            services.AddRmaMemoryPool<HostProvider>(configuration.GetSection("AllocTools"));
            services.AddRmaDirectory().UseRedis();
            _services = services.BuildServiceProvider();
            _connection = ConnectionMultiplexer.Connect(_server.Configuration);
            _store = _services.GetRequiredService<IDirectoryStore>();
            _store.CheckAsync(CancellationToken.None).GetAwaiter().GetResult();
        }
        database = _connection!.GetDatabase();
        return _store;
    }
}
