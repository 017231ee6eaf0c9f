using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AllocTools.AotSmoke;

/// <summary>The application's own provider, which describes its options.</summary>
internal sealed class ThirdPartyProvider(ThirdPartyOptions options, ILoggerFactory loggerFactory) : IRmaProvider
{
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<ThirdPartyOptions>(
        new RmaOptionKeys<ThirdPartyOptions>()
            .Text(nameof(ThirdPartyOptions.Label), (o, v) => o.Label = v)
            .Choice<PageLocking>(nameof(ThirdPartyOptions.Locking), (o, v) => o.Locking = v)
            .List(nameof(ThirdPartyOptions.Limits), o => o.AddLimit(), new RmaOptionKeys<ThirdPartyOptions.Limit>()
                .Size(nameof(ThirdPartyOptions.Limit.Bytes), (o, v) => o.Bytes = v))
            .Map(nameof(ThirdPartyOptions.Labels), (o, name, v) => o.Labels[name] = v)
            .Section(nameof(ThirdPartyOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<RmaEndpointOptions>().EndpointOptions()),
        (options, services) => new ThirdPartyProvider(options, services.GetRequiredService<ILoggerFactory>()))
    {
        SectionName = "ThirdParty",
    };

    public IRmaContext Open() => new HostProvider(new HostProviderOptions { Locking = options.Locking }, loggerFactory).Open();
}

internal sealed class ThirdPartyOptions
{
    public string Label { get; set; } = "";

    public PageLocking Locking { get; set; } = PageLocking.Required;

    public IList<Limit> Limits { get; } = [];

    public IDictionary<string, string> Labels { get; } = new Dictionary<string, string>();

    public RmaEndpointOptions Endpoint { get; } = new();

    public Limit AddLimit()
    {
        var limit = new Limit();
        Limits.Add(limit);
        return limit;
    }

    internal sealed class Limit
    {
        public long Bytes { get; set; }
    }
}
