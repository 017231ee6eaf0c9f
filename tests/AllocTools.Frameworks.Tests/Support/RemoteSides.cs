using System.Globalization;
using System.Net;
using System.Threading.Channels;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Grpc;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Runtime;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>
/// Sides that are processes of their own on other hosts. Each answers each line of its input with a line, ends with its
/// input, and finally writes what is left: connections, and buffers that are rented and in quarantine.
/// </summary>
internal static class RemoteSides
{
    /// <summary>Runs a gRPC service at port 5001 of an address.</summary>
    public static async Task<int> RunGrpcServerAsync(string fabric, string address)
    {
        Endings endings = new();
        await using WebApplication app = WebSide.Build(fabric, builder =>
        {
            builder.WebHost.UseRma();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Parse(address), 5001), static listen => listen.Protocols = HttpProtocols.Http2));
            SetTimes(builder.Services);
            builder.Services.AddSingleton(new EchoService.Endings());
            builder.Services.AddSingleton(endings);
            builder.Logging.AddProvider(endings).SetMinimumLevel(LogLevel.Debug);
            builder.Services.AddGrpc(static o => o.Interceptors.Add<Endings>());
        });
        app.MapGrpcService<EchoService>();
        await app.StartAsync();
        await AnswerAsync(async line => line switch
        {
            "ended" => await endings.NextAsync(),
            _ => Left(line, app.Services),
        });
        await app.StopAsync();
        Console.WriteLine(Left("left", app.Services));
        return 0;
    }

    /// <summary>Runs a client of that service.</summary>
    public static async Task<int> RunGrpcClientAsync(string fabric, string address)
    {
        const int Length = 100_000;
        await using ClientSide side = await ClientSide.StartAsync(fabric, SetTimes);
        using (GrpcChannel channel = GrpcChannel.ForAddress($"http://{address}:5001", new GrpcChannelOptions { HttpHandler = side.NewHandler(), DisposeHttpClient = true }))
        {
            var client = new Echo.EchoClient(channel);
            byte[] expected = EchoService.DataOf(Length);
            Task<string> stream = Task.FromResult("not started");
            int read = 0;
            await AnswerAsync(async line => line.Split(' ') switch
            {
                ["start", var chunks] => Start(int.Parse(chunks, CultureInfo.InvariantCulture)),
                ["read"] => Volatile.Read(ref read).ToString(CultureInfo.InvariantCulture),
                ["end"] => await stream,
                _ => Left(line, side.Services),
            });

            string Start(int chunks)
            {
                stream = ReadAsync(chunks);
                return "ok";
            }

            async Task<string> ReadAsync(int chunks)
            {
                Volatile.Write(ref read, 0);
                try
                {
                    using AsyncServerStreamingCall<Chunk> call = client.Count(new Order { Chunks = chunks, Length = Length });
                    await foreach (Chunk chunk in call.ResponseStream.ReadAllAsync())
                    {
                        if (chunk.Number != read || !chunk.Data.Span.SequenceEqual(expected))
                            return $"message {read} has number {chunk.Number} and {chunk.Data.Length} bytes, or others than were sent";
                        Interlocked.Increment(ref read);
                    }
                    return read == chunks ? "whole" : $"ended after {read}";
                }
                catch (RpcException e)
                {
                    return $"error {e.StatusCode}: {e.Status.Detail.ReplaceLineEndings(" ")}";
                }
            }
        }
        await side.StopAsync();
        Console.WriteLine(Left("left", side.Services));
        return 0;
    }

    /// <summary>Runs a silo at port 5002, whose gateway is at port 5003. The primary silo keeps the list of members.</summary>
    public static async Task<int> RunSiloAsync(string fabric, string primary, string address)
    {
        using IHost host = await SiloProcess.StartSiloAsync(fabric, 5002, 5003, new IPEndPoint(IPAddress.Parse(primary), 5002), silo =>
        {
            silo.ConfigureEndpoints(IPAddress.Parse(address), 5002, 5003);
            SetTimes(silo.Services);
        });
        await AnswerAsync(line => Task.FromResult(Left(line, host.Services)));
        await host.StopAsync();
        Console.WriteLine(Left("left", host.Services));
        return 0;
    }

    /// <summary>Runs a client of such silos, which uses the gateway of one of them.</summary>
    public static async Task<int> RunSiloClientAsync(string fabric, string address)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(fabric);
        builder.UseOrleansClient(client =>
        {
            client.UseLocalhostClustering(0).UseStaticClustering(new IPEndPoint(IPAddress.Parse(address), 5003)).UseRma();
            client.Configure<ClientMessagingOptions>(static o => o.ResponseTimeout = TestTime.Seconds(5));
            SetTimes(client.Services);
        });
        builder.Logging.ClearProviders();
        using IHost host = builder.Build();
        await host.StartAsync();
        IGrainFactory grains = host.Services.GetRequiredService<IGrainFactory>();
        await AnswerAsync(async line => line.Split(' ') switch
        {
            ["ask", var count] => await AskAsync(grains, int.Parse(count, CultureInfo.InvariantCulture)),
            ["dead"] => await DeadAsync(grains),
            _ => Left(line, host.Services),
        });
        await host.StopAsync();
        Console.WriteLine(Left("left", host.Services));
        return 0;
    }

    /// <summary>Calls grains, each of which calls another one.</summary>
    /// <returns>The addresses of their silos, whether calls went between silos, and how many calls failed.</returns>
    private static async Task<string> AskAsync(IGrainFactory grains, int count)
    {
        (string Here, string There)?[] answers = await Task.WhenAll(Enumerable.Range(0, count).Select(async i =>
        {
            try
            {
                return ((string, string)?)await grains.GetGrain<IPlace>(i).AskAsync(grains.GetGrain<IPlace>(i + 10_000));
            }
            catch (Exception e) when (e is OrleansException or TimeoutException)
            {
                // This lasts until the cluster has found that a silo is dead.
                return null;
            }
        }));
        (string Here, string There)[] good = [.. answers.OfType<(string, string)>()];
        IEnumerable<string> silos = good.SelectMany(static a => new[] { a.Here, a.There }).Select(AddressOf).Distinct().Order(StringComparer.Ordinal);
        return $"{string.Join(',', silos)} {(good.Any(static a => a.Here != a.There) ? "across" : "inside")} {count - good.Length}";
    }

    /// <summary>Returns the addresses of the silos that the cluster has declared dead.</summary>
    private static async Task<string> DeadAsync(IGrainFactory grains)
    {
        try
        {
            Dictionary<SiloAddress, SiloStatus> hosts = await grains.GetGrain<IManagementGrain>(0).GetHosts();
            return $"dead {string.Join(',', hosts.Where(static h => h.Value == SiloStatus.Dead).Select(static h => AddressOf(h.Key.ToString())).Order(StringComparer.Ordinal))}";
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            return $"error {e.GetType().Name}";
        }
    }

    /// <summary>Returns the address in a silo's name, which consists of its address, its port and its start.</summary>
    private static string AddressOf(string silo) => silo[..silo.IndexOf(':', StringComparison.Ordinal)].TrimStart('S');

    /// <summary>Sets short times, so that lost peers are noticed soon.</summary>
    private static void SetTimes(IServiceCollection services)
    {
        services.ConfigureAll<RmaConnectionOptions>(static o => (o.HeartbeatInterval, o.PeerTimeout, o.SetUpTimeout) = (TestTime.Seconds(0.2), TestTime.Seconds(3), TestTime.Seconds(3)));
        services.ConfigureAll<LibfabricOptions>(static o => o.Endpoint.OperationTimeout = TestTime.Seconds(4));
        services.ConfigureAll<UcxOptions>(static o => o.Endpoint.OperationTimeout = TestTime.Seconds(4));
    }

    private static string Left(string line, IServiceProvider services)
    {
        if (line != "left")
            return $"unknown: {line}";
        RmaPoolStatistics now = services.GetRequiredService<IRmaMemoryPool>().GetStatistics();
        return $"{services.GetRequiredService<RmaConnections>().Count} {now.RentedBuffers} {now.QuarantinedBuffers}";
    }

    private static async Task AnswerAsync(Func<string, Task<string>> answer)
    {
        await Console.Out.WriteLineAsync("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            await Console.Out.WriteLineAsync(await answer(line));
            await Console.Out.FlushAsync();
        }
    }

    /// <summary>How the server's side of each stream has ended: the error, and the log entry about its connection.</summary>
    private sealed class Endings : Interceptor, ILoggerProvider, ILogger
    {
        /// <summary>The log event of a connection's end.</summary>
        private const int ConnectionEnded = 82;

        private readonly Channel<string> _streams = Channel.CreateUnbounded<string>();
        private readonly Channel<string> _connections = Channel.CreateUnbounded<string>();

        public async Task<string> NextAsync() => await _streams.Reader.ReadAsync() is var stream && stream.StartsWith("error ", StringComparison.Ordinal)
            ? $"{stream} {await _connections.Reader.ReadAsync()}"
            : stream;

        public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
            TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
        {
            try
            {
                await continuation(request, responseStream, context);
                _streams.Writer.TryWrite("whole");
            }
            catch (Exception e)
            {
                _streams.Writer.TryWrite($"error {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}");
                throw;
            }
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Id == ConnectionEnded && formatter(state, exception) is var text && text.StartsWith("Connection ", StringComparison.Ordinal))
                _connections.Writer.TryWrite(text);
        }

        public void Dispose()
        {
        }
    }
}
