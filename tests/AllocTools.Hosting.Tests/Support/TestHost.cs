using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>Builders of real hosts, without console output and file watchers.</summary>
internal static class TestHost
{
    /// <summary>After which something that does not come is taken for missing, so that a test fails where it would hang.</summary>
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

    /// <summary>One registration at the start.</summary>
    public static void SmallPool(RmaMemoryPoolOptions options) =>
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096, InitialBlocks = 4 });
}
