import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import software.amazon.event.ruler.Machine;

/** How many events a second event-ruler judges, with the rules and the events that `bus_rules` wrote. */
public final class Ruler {
    private static final int ROUNDS = 3;

    public static void main(String[] args) throws Exception {
        Path place = Path.of(args[0]);
        byte[][] events = lines(place.resolve("events.jsonl"));
        for (String mix : new String[] {"exact", "mixed"}) {
            byte[][] rules = lines(place.resolve(mix + ".jsonl"));
            for (int count : new int[] {1, 100, 1_000, 10_000}) {
                measure(mix, rules, count, events);
            }
        }
    }

    private static void measure(String mix, byte[][] rules, int count, byte[][] events) throws Exception {
        Machine machine = new Machine();
        long started = System.nanoTime();
        for (int rule = 0; rule < count; rule++) {
            machine.addRule(Integer.toString(rule), new String(rules[rule], StandardCharsets.UTF_8));
        }
        double added = (System.nanoTime() - started) / 1e3 / count;
        double best = 0;
        long matches = 0;
        for (int round = 0; round < ROUNDS; round++) {
            matches = 0;
            long cpu = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            for (byte[] event : events) {
                matches += machine.rulesForJSONEvent(new String(event, StandardCharsets.UTF_8)).size();
            }
            long spent = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - cpu;
            best = Math.max(best, events.length * 1e9 / spent);
        }
        System.out.printf("%8d %6s %12.0f %14.3f %12.1f%n", count, mix, best, (double) matches / events.length, added);
    }

    private static byte[][] lines(Path path) throws Exception {
        List<String> lines = Files.readAllLines(path);
        return lines.stream().map(line -> line.getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new);
    }
}
