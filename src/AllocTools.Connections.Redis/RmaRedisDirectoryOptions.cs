using AllocTools.Providers;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace AllocTools.Connections.Redis;

/// <summary>Options of a directory on Redis.</summary>
public sealed class RmaRedisDirectoryOptions
{
    /// <summary>
    /// The connection string of StackExchange.Redis, such as redis:6379,ssl=true. Default: none, the application's IConnectionMultiplexer is used.
    /// </summary>
    public string? Configuration { get; set; }

    /// <summary>
    /// The prefix of the keys and channels in Redis. It must have between 1 and 64 characters, each an ASCII letter or
    /// digit, '-', '_', '.' or ':'. Default: alloctools.
    /// </summary>
    public string KeyPrefix { get; set; } = "alloctools";
}

/// <summary>All rules of <see cref="RmaRedisDirectoryOptions"/>.</summary>
internal sealed class RmaRedisDirectoryOptionsValidator : IValidateOptions<RmaRedisDirectoryOptions>
{
    public ValidateOptionsResult Validate(string? name, RmaRedisDirectoryOptions options)
    {
        var result = new ValidateOptionsResultBuilder();
        if (options.KeyPrefix is not { Length: >= 1 and <= 64 } prefix || prefix.Any(static c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.' or ':')))
            result.AddError($"KeyPrefix is '{options.KeyPrefix}'; it must have between 1 and 64 characters, each an ASCII letter or digit, '-', '_', '.' or ':'.");
        // The text may contain a password, so the error does not quote it.
        if (options.Configuration is not null && !IsConfiguration(options.Configuration, out string? key))
            result.AddError($"Configuration is not valid{(key is null ? "" : $": '{key}' is an unknown option, or has an invalid value")}; it must be a connection string of StackExchange.Redis with a host, such as redis:6379,ssl=true.");
        return result.Build();
    }

    private static bool IsConfiguration(string text, out string? wrongKey)
    {
        wrongKey = null;
        try
        {
            return ConfigurationOptions.Parse(text).EndPoints.Count > 0;
        }
        catch (ArgumentException e)
        {
            // The parameter's name is the name of the key. Any other text may be part of a password with a comma.
            wrongKey = e.ParamName is { Length: > 0 and <= 32 } key && key.All(char.IsAsciiLetter) ? key : null;
            return false;
        }
    }
}

/// <summary>Every key of the section of a directory on Redis. A test compares it with the properties of the options.</summary>
internal static class RedisDirectoryOptionKeys
{
    public static RmaOptionKeys<RmaRedisDirectoryOptions> All { get; } = new RmaOptionKeys<RmaRedisDirectoryOptions>()
        .Text(nameof(RmaRedisDirectoryOptions.Configuration), (o, v) => o.Configuration = v)
        .Text(nameof(RmaRedisDirectoryOptions.KeyPrefix), (o, v) => o.KeyPrefix = v);
}
