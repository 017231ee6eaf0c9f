using System.Net;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections;

/// <summary>
/// Logs set-ups that have failed at a listener (event 81). The same failure from one address is logged once a minute,
/// with the number of failures that were left out.
/// </summary>
internal sealed class SetUpFailures(ILogger logger, TimeProvider time)
{
    /// <summary>This many addresses are distinguished; failures from others are combined.</summary>
    private const int MostAddresses = 1024;

    /// <summary>This many reasons are logged per address and minute, because some contain numbers that the peer chooses.</summary>
    private const int MostReasons = 64;

    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    private readonly Dictionary<IPAddress, Said> _said = [];

    public void Report(EndPoint? from, string reason, Exception? exception)
    {
        IPAddress? address = (from as IPEndPoint)?.Address;
        int left = 0;
        lock (_said)
        {
            Said said = Find(address ?? IPAddress.None);
            if (time.GetElapsedTime(said.Start) >= Interval)
            {
                left = said.Left;
                said.Reasons.Clear();
                (said.Start, said.Left) = (time.GetTimestamp(), 0);
            }
            if (said.Reasons.Count >= MostReasons || !said.Reasons.Add(reason))
            {
                said.Left++;
                return;
            }
        }
        ConnectionsLog.SetUpFailed(logger, address, reason, left == 0 ? "" : $" {left} more failures from this address were not logged.", exception);
    }

    private Said Find(IPAddress address)
    {
        if (_said.TryGetValue(address, out Said? said))
            return said;
        if (_said.Count >= MostAddresses)
        {
            foreach ((IPAddress old, Said its) in _said)
            {
                if (time.GetElapsedTime(its.Start) >= Interval)
                    _said.Remove(old);
            }
            if (_said.Count >= MostAddresses && !address.Equals(IPAddress.None))
                return Find(IPAddress.None);
        }
        return _said[address] = new Said { Start = time.GetTimestamp() };
    }

    private sealed class Said
    {
        public HashSet<string> Reasons { get; } = new(StringComparer.Ordinal);

        public long Start { get; set; }

        /// <summary>The number of failures since the start that were not logged.</summary>
        public int Left { get; set; }
    }
}
