using AllocTools.Endpoints;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting.Tests.ThirdParty;

public sealed class CardProvider(CardOptions options, ICardDriver driver) : IRmaProvider
{
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<CardOptions>(
        new RmaOptionKeys<CardOptions>()
            .Text(nameof(CardOptions.Device), (o, v) => o.Device = v)
            .Size(nameof(CardOptions.Window), (o, v) => o.Window = v)
            .Choice<CardMode>(nameof(CardOptions.Mode), (o, v) => o.Mode = v)
            .List(nameof(CardOptions.Ports), o => o.AddPort(), new RmaOptionKeys<CardPort>()
                .Integer(nameof(CardPort.Number), (o, v) => o.Number = v)
                .Flag(nameof(CardPort.IsTrusted), (o, v) => o.IsTrusted = v))
            .Map(nameof(CardOptions.Settings), (o, name, v) => o.Settings[name] = v)
            .Section(nameof(CardOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<RmaEndpointOptions>().EndpointOptions()),
        (options, services) => new CardProvider(options, services.GetRequiredService<ICardDriver>()))
    {
        SectionName = "Card",
        Validator = new CardOptionsValidator(),
        EndpointType = typeof(CardEndpoint),
    };

    public IRmaContext Open() => driver.Open(options);
}

public sealed class CardOptions
{
    public string Device { get; set; } = "card0";

    public long Window { get; set; } = 1 << 20;

    public CardMode Mode { get; set; }

    public IList<CardPort> Ports { get; } = [];

    public IDictionary<string, string> Settings { get; } = new Dictionary<string, string>();

    public RmaEndpointOptions Endpoint { get; } = new();

    internal CardPort AddPort()
    {
        var port = new CardPort();
        Ports.Add(port);
        return port;
    }
}

public enum CardMode
{
    Reliable = 0,
    Fast = 1,
}

public sealed class CardPort
{
    public int Number { get; set; }

    public bool IsTrusted { get; set; }
}

public sealed class CardOptionsValidator : IValidateOptions<CardOptions>
{
    // A failure starts with the option's name; the path of the section is put before it.
    public ValidateOptionsResult Validate(string? name, CardOptions options)
    {
        List<string> failures = [];
        if (options.Window is < 4096 or > 1 << 30)
            failures.Add($"Window is {options.Window}; it must be between 4,096 and 1,073,741,824 bytes.");
        for (int i = 0; i < options.Ports.Count; i++)
        {
            if (options.Ports[i].Number is < 1 or > 2)
                failures.Add($"Ports:{i}:Number is {options.Ports[i].Number}; it must be 1 or 2.");
        }
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }
}
