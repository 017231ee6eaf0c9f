using AllocTools.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>The connecting side: an application with its own pool.</summary>
internal sealed class ClientSide : IAsyncDisposable
{
    private readonly IHost _host;

    private ClientSide(IHost host) => _host = host;

    public IServiceProvider Services => _host.Services;

    public RmaConnections Connections => Services.GetRequiredService<RmaConnections>();

    public static async Task<ClientSide> StartAsync(string fabric, Action<IServiceCollection>? configure = null)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.AddPool(fabric);
        builder.Services.AddRmaConnections();
        configure?.Invoke(builder.Services);
        IHost host = builder.Build();
        await host.StartAsync(TestContext.Current.CancellationToken);
        return new ClientSide(host);
    }

    /// <summary>Creates a handler whose connections go over the fabric.</summary>
    public SocketsHttpHandler NewHandler() => new SocketsHttpHandler().UseRma(Connections);

    public Task StopAsync() => _host.StopAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _host.Dispose();
    }
}
