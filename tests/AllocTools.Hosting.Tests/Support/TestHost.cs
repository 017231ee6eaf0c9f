using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>Builders of real hosts, without console output and file watchers.</summary>
internal static class TestHost
{
    /// <summary>The time after which an awaited event counts as missing, so that a test fails instead of hanging.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static HostApplicationBuilder CreateBuilder(string? json = null, LogRecorder? log = null)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        if (json is not null)
            builder.Configuration.AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes(json)));
        if (log is not null)
            builder.Services.AddLogging(l => l.SetMinimumLevel(LogLevel.Trace).AddProvider(log));
        return builder;
    }

    /// <summary>Configures a pool that registers memory once, at the start.</summary>
    public static void SmallPool(RmaMemoryPoolOptions options) =>
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096, InitialBlocks = 4 });
}
