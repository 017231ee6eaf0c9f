using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.Directory.Tests.Support;

/// <summary>The keeper of a directory, and the processes that use it, each of which is a host.</summary>
internal abstract class DirectoryBed : IAsyncDisposable
{
    private readonly List<IHost> _hosts = [];

    /// <summary>
    /// Starts the keeper of the directory; after <see cref="StopKeeperAsync"/> it is started again, with nothing in it.
    /// </summary>
    public abstract Task StartKeeperAsync();

    /// <summary>Ends the keeper of the directory, which can no longer be reached then.</summary>
    public abstract Task StopKeeperAsync();

    /// <summary>Puts a value into the directory that this library would not write, for a minute.</summary>
    public abstract Task KeepAsync(string name, Guid process, byte[] value);

    /// <summary>Gets the settings with which the processes find the directory.</summary>
    protected abstract Dictionary<string, string?> Settings { get; }

    protected abstract void Add(IRmaDirectoryBuilder directory);

    /// <summary>Starts a process that uses the directory.</summary>
    /// <param name="configure">Sets options; leases are short before that.</param>
    /// <param name="isAlive">Whether it renews. To the directory, a process that does not is the same as one that was
    /// killed.</param>
    /// <param name="services">Adds services.</param>
    public async Task<DirectoryProcess> StartProcessAsync(Action<RmaDirectoryOptions>? configure = null, bool isAlive = true, Action<IServiceCollection>? services = null)
    {
        var log = new LogRecorder();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(Settings);
        builder.Services.AddSingleton<ILoggerFactory>(log.Factory);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        services?.Invoke(builder.Services);
        Add(builder.Services.AddRmaDirectory(options =>
        {
            options.Lease = TestTime.Seconds(3);
            options.RequestTimeout = TestTime.Seconds(1.4);
            options.WatchInterval = TimeSpan.FromMilliseconds(300);
            configure?.Invoke(options);
        }));
        IHost host = builder.Build();
        lock (_hosts)
            _hosts.Add(host);
        if (isAlive)
            await host.StartAsync(TestContext.Current.CancellationToken);
        return new DirectoryProcess(host, log);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IHost host in _hosts)
        {
            await host.StopAsync(CancellationToken.None);
            await ((IAsyncDisposable)host).DisposeAsync();
        }
        await EndAsync();
    }

    protected abstract ValueTask EndAsync();
}

/// <summary>A process that uses a directory.</summary>
internal sealed record DirectoryProcess(IHost Host, LogRecorder Log)
{
    public Guid Number { get; } = Guid.NewGuid();

    public IRmaDirectory Directory => Host.Services.GetRequiredService<IRmaDirectory>();

    public RmaDirectoryEntry Entry(string name, int port = 5001, IReadOnlyDictionary<string, RemoteMemory>? exposures = null) =>
        new(name, Number, new System.Net.DnsEndPoint("server.example", port), exposures);

    public ValueTask<RmaPublication> PublishAsync(string name, int port = 5001) => Directory.PublishAsync(Entry(name, port), TestContext.Current.CancellationToken);

    /// <summary>Returns the ports published under a name, the newest publication first.</summary>
    public async Task<int[]> PortsAsync(string name) => [.. (await Directory.ResolveAsync(name, TestContext.Current.CancellationToken)).Select(static e => ((System.Net.DnsEndPoint)e.EndPoint).Port)];

    /// <summary>Asserts the ports that are published under a name now.</summary>
    public async Task HasAsync(string name, params int[] ports)
    {
        int[] found = await PortsAsync(name);
        Assert.Equal(ports, found);
    }

    /// <summary>Waits until exactly these ports are published under a name; errors meanwhile are ignored.</summary>
    public async Task ResolvesToAsync(string name, params int[] ports)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (true)
        {
            string found;
            try
            {
                int[] now = await PortsAsync(name);
                if (now.SequenceEqual(ports))
                    return;
                found = string.Join(", ", now);
            }
            catch (RmaDirectoryException e)
            {
                found = e.Message;
            }
            Assert.False(limit.IsCancellationRequested, $"'{name}' is [{found}] and not [{string.Join(", ", ports)}].");
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
