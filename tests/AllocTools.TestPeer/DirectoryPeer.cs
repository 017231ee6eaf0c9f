using System.Globalization;
using System.Net;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>
/// The process that keeps a directory over HTTP, and the one that publishes and finds entries there. It answers each
/// line with a line.
/// </summary>
internal static class DirectoryPeer
{
    private const int Length = 4096;
    private const int Port = 5004;

    /// <summary>Keeps a directory until its input ends.</summary>
    public static async Task<int> KeepAsync(string address, TimeSpan lease)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls($"http://{address}:{Port.ToString(CultureInfo.InvariantCulture)}");
        builder.Services.AddRoutingCore();
        builder.Configuration.AddInMemoryCollection(DirectorySettings(address, lease));
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaDirectory();
        await using WebApplication app = builder.Build();
        app.MapRmaDirectory();
        await app.StartAsync();
        await Console.Out.WriteLineAsync("ready");
        await Console.In.ReadToEndAsync();
        return 0;
    }

    public static async Task<int> RunAsync(string fabric, string keeper, TimeSpan lease)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.AddConsole(static o => o.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.Configuration.AddInMemoryCollection([.. DirectorySettings(keeper, lease), .. PoolSettings()]);
        IConfigurationSection section = builder.Configuration.GetSection("AllocTools");
        if (fabric.Split('@') is ["ucx:tcp", var device])
        {
            section["Provider:Transports"] = "tcp";
            section["Provider:Devices"] = device;
            builder.Services.AddRmaMemoryPool<UcxProvider>(section);
        }
        else
        {
            LibfabricOptions options = Fabric.Options(fabric);
            section["Provider:Provider"] = options.Provider;
            section["Provider:Node"] = options.Node;
            builder.Services.AddRmaMemoryPool<LibfabricProvider>(section);
        }
        builder.Services.AddRmaConnections();
        builder.Services.AddRmaDirectory();
        using IHost host = builder.Build();
        await host.StartAsync();
        await new Side(host.Services).AnswerAsync();
        await host.StopAsync();
        return 0;
    }

    private static Dictionary<string, string?> PoolSettings() => new()
    {
        ["AllocTools:Access"] = "RemoteWrite",
        ["AllocTools:DrainTimeout"] = "0 s",
        ["AllocTools:Connections:HeartbeatInterval"] = InSeconds(TestTime.Seconds(0.2)),
        ["AllocTools:Connections:PeerTimeout"] = InSeconds(TestTime.Seconds(3)),
        ["AllocTools:Connections:SetUpTimeout"] = InSeconds(TestTime.Seconds(3)),
        ["AllocTools:Provider:Endpoint:OperationTimeout"] = InSeconds(TestTime.Seconds(3)),
    };

    private static Dictionary<string, string?> DirectorySettings(string keeper, TimeSpan lease) => new()
    {
        ["AllocTools:Directory:Peers"] = $"http://{keeper}:{Port.ToString(CultureInfo.InvariantCulture)}",
        ["AllocTools:Directory:Lease"] = InSeconds(lease),
        ["AllocTools:Directory:RequestTimeout"] = InSeconds(lease * 0.4),
        ["AllocTools:Directory:WatchInterval"] = InSeconds(lease / 3),
    };

    private static string InSeconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.###} s");

    private sealed class Side(IServiceProvider services)
    {
        private readonly IRmaDirectory _directory = services.GetRequiredService<IRmaDirectory>();
        private readonly RmaConnections _connections = services.GetRequiredService<RmaConnections>();
        private readonly IRmaMemoryPool _pool = services.GetRequiredService<IRmaMemoryPool>();
        private readonly Dictionary<string, RmaDirectoryEntry> _kept = [];
        private RmaBuffer? _memory;

        public async Task AnswerAsync()
        {
            await Console.Out.WriteLineAsync("ready");
            while (await Console.In.ReadLineAsync() is { } line)
            {
                string answer;
                try
                {
                    answer = line.Split(' ') switch
                    {
                        ["publish", var name, var address, var port] => await PublishAsync(name, IPAddress.Parse(address), int.Parse(port, CultureInfo.InvariantCulture)),
                        ["resolve", var name] => string.Join(' ', (await _directory.ResolveAsync(name)).Select(static e => $"{e.Process:N}").Prepend("found")),
                        ["keep", var name] => Keep(name, (await _directory.ResolveAsync(name))[0]),
                        ["write", var name] => await WriteAsync(name, _kept[name]),
                        ["memory"] => _memory!.Value.Span.ContainsAnyExcept((byte)0) ? "written" : "untouched",
                        ["left"] => _pool.GetStatistics() is var now ? $"{_connections.Count} {now.RentedBuffers} {now.QuarantinedBuffers}" : "",
                        _ => $"unknown: {line}",
                    };
                }
                catch (Exception e) when (e is RmaException or IOException or System.Net.Sockets.SocketException)
                {
                    answer = $"error {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}";
                }
                await Console.Out.WriteLineAsync(answer);
                await Console.Out.FlushAsync();
            }
        }

        private string Keep(string name, RmaDirectoryEntry entry)
        {
            _kept[name] = entry;
            return "ok";
        }

        private async Task<string> PublishAsync(string name, IPAddress address, int port)
        {
            RmaConnectionListener listener = _connections.Listen(new RmaEndPoint(address, port));
            _ = AcceptAsync(listener);
            RmaBuffer memory = _pool.Rent(Length);
            memory.Span.Clear();
            _memory = memory;
            RmaExposure exposure = memory.Expose(RmaAccess.RemoteWrite);
            await _directory.PublishAsync(new RmaDirectoryEntry(name, _connections.Process, new IPEndPoint(address, port), new Dictionary<string, RemoteMemory> { ["memory"] = exposure.Remote }));
            return "ok";
        }

        private static async Task AcceptAsync(RmaConnectionListener listener)
        {
            while (await listener.AcceptAsync() is { } connection)
                _ = TakeAllAsync((RmaConnection)connection);
        }

        private static async Task TakeAllAsync(RmaConnection connection)
        {
            await using (connection)
            {
                try
                {
                    await connection.Input.CopyToAsync(Stream.Null);
                }
                catch (IOException)
                {
                    // The other side is gone, as tests intend.
                }
            }
        }

        /// <summary>Connects to the process that an entry names, and writes into the memory that it names.</summary>
        private async Task<string> WriteAsync(string name, RmaDirectoryEntry entry)
        {
            await using RmaConnection connection = await _connections.ConnectAsync(entry);
            using RemoteRegion region = connection.Import(entry, "memory");
            using RmaBuffer source = _pool.Rent(Length);
            source.Span.Fill(7);
            await connection.Endpoint.WriteAsync(source, region);
            return $"written to {name}";
        }
    }
}
