using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.Directory.Tests.Support;

/// <summary>A directory that two web applications keep.</summary>
internal sealed class HttpBed : DirectoryBed
{
    private readonly WebApplication?[] _peers = new WebApplication?[2];
    private readonly string[] _urls = ["http://127.0.0.1:0", "http://127.0.0.1:0"];

    public IReadOnlyList<string> Urls => _urls;

    /// <summary>Gets the log of the peers.</summary>
    public LogRecorder Log { get; } = new();

    /// <summary>Gets or sets an action that sets options of the peers that are started from now on.</summary>
    public Action<RmaDirectoryOptions>? Configure { get; set; }

    /// <summary>Gets or sets the clock of the peers that are started from now on.</summary>
    public TimeProvider Time { get; set; } = TimeProvider.System;

    protected override Dictionary<string, string?> Settings => new()
    {
        ["AllocTools:Directory:Peers"] = "http://directory",
        ["Services:directory:http:0"] = _urls[0],
        ["Services:directory:http:1"] = _urls[1],
    };

    public override async Task StartKeeperAsync()
    {
        await StartPeerAsync(0);
        await StartPeerAsync(1);
    }

    public override async Task StopKeeperAsync()
    {
        await StopPeerAsync(0);
        await StopPeerAsync(1);
    }

    public async Task StartPeerAsync(int index)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(_urls[index]);
        builder.Services.AddRoutingCore();
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:Directory:Peers"] = "http://directory" });
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddSingleton<ILoggerFactory>(Log.Factory);
        builder.Services.AddSingleton(Time);
        builder.Services.AddRmaDirectory(Configure);
        WebApplication peer = builder.Build();
        peer.MapRmaDirectory();
        await peer.StartAsync(TestContext.Current.CancellationToken);
        _urls[index] = peer.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        _peers[index] = peer;
    }

    public async Task StopPeerAsync(int index)
    {
        if (_peers[index] is not { } peer)
            return;
        _peers[index] = null;
        await peer.StopAsync(CancellationToken.None).WaitAsync(TestTime.Seconds(20), CancellationToken.None);
        await peer.DisposeAsync();
    }

    public override Task KeepAsync(string name, Guid process, byte[] value)
    {
        // The record is valid except for the value that is kept of it.
        var record = new DirectoryRecord(new RmaDirectoryEntry(name, process, new System.Net.DnsEndPoint("x", 1)), 1);
        foreach (WebApplication? peer in _peers)
            Assert.Null(peer!.Services.GetRequiredService<DirectoryTable>().Put(record, value, TimeSpan.FromMinutes(1)));
        return Task.CompletedTask;
    }

    protected override void Add(IRmaDirectoryBuilder directory)
    {
    }

    protected override async ValueTask EndAsync() => await StopKeeperAsync();
}
