using System.Net;
using AllocTools.Libfabric;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Benchmarks.Frameworks;

/// <summary>A web application in a separate process, with the same handlers over TCP, a Unix socket, and fabrics.</summary>
internal static class FrameworkServer
{
    public const string Argument = "framework-server";

    /// <summary>The fabrics, each of which has a pool of that name.</summary>
    public static readonly string[] Fabrics = ["shm", "tcp;ofi_rxm"];

    private const int Piece = 64 << 10;

    /// <summary>Serves until its input ends. The first line of its output contains the ports of TCP and of the fabrics.</summary>
    public static async Task<int> RunAsync(string socketPath)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore();
        AddPools(builder.Services);
        foreach (string fabric in Fabrics)
            builder.WebHost.UseRma(fabric);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(new IPEndPoint(IPAddress.Loopback, 0), Http1);
            foreach (string fabric in Fabrics)
                kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), fabric, Http1);
            kestrel.ListenUnixSocket(socketPath, Http1);
        });
        await using WebApplication app = builder.Build();
        byte[] piece = new byte[Piece];
        Random.Shared.NextBytes(piece);
        app.Run(async context =>
        {
            // The path is the number of bytes.
            long length = long.Parse(context.Request.Path.Value.AsSpan(1), System.Globalization.CultureInfo.InvariantCulture);
            context.Response.ContentLength = length;
            for (; length > 0; length -= Piece)
                await context.Response.Body.WriteAsync(piece.AsMemory(0, (int)Math.Min(length, Piece)));
        });
        await app.StartAsync();
        Console.WriteLine(string.Join(' ', app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Where(static a => !a.Contains("unix", StringComparison.Ordinal)).Select(static a => new Uri(a).Port)));
        await Console.In.ReadToEndAsync();
        await app.StopAsync();
        return 0;

        static void Http1(ListenOptions listen) => listen.Protocols = HttpProtocols.Http1;
    }

    /// <summary>Adds a pool for each fabric.</summary>
    public static void AddPools(IServiceCollection services)
    {
        foreach (string fabric in Fabrics)
        {
            services.AddRmaMemoryPool<LibfabricProvider>(fabric, static o => o.MaxRegisteredBytes = 256 << 20);
            services.Configure<LibfabricOptions>(fabric, o => (o.Provider, o.Node) = (fabric, fabric == "shm" ? null : "127.0.0.1"));
            services.AddRmaConnections(fabric);
        }
    }
}
